"""Networks: graph and tile encoders, their layers, pretraining methods, classifiers and aggregators."""
