"""The public names. ``__init__.py`` reads this file to import each of them on first use; editors read it, too."""

from .data.demo.cohort import make_demo_cohort as make_demo_cohort
from .data.entity_graph import EntityGraph as EntityGraph
from .data.files.features_file import read_features as read_features
from .data.files.tile_embeddings_file import read_tile_embeddings as read_tile_embeddings
from .diffusion.noising import Noising as Noising
from .entities.backbone_entities import BackboneEntities as BackboneEntities
from .errors import InputError as InputError
from .losses.masked_graph import MaskedGraphLoss as MaskedGraphLoss
from .networks.encoders.tile_encoder import TileEncoder as TileEncoder
from .networks.methods.build import build_hmgdm as build_hmgdm
from .networks.methods.hmgdm import HMGDM as HMGDM
from .saving.classifier_file import Classifier as Classifier
from .saving.classifier_file import build_classifier as build_classifier
from .saving.classifier_file import load_classifier as load_classifier
from .saving.classifier_file import save_classifier as save_classifier
from .saving.encoder_file import load_encoder as load_encoder
from .saving.encoder_file import save_encoder as save_encoder
from .tasks.compare import compare_runs as compare_runs
from .tasks.inference.embed_cohort import embed_cohort as embed_cohort
from .tasks.inference.embed_tile import embed_tile as embed_tile
from .tasks.patients.predict_patients import predict_patients as predict_patients
from .tasks.patients.predict_patients import predict_survival as predict_survival
from .tasks.pretraining.pretrain import pretrain as pretrain
from .tasks.tiles.classify import classify as classify
from .transforms.tile_to_graph import tile_to_graph as tile_to_graph
from .visualize.entity_graph import draw_entity_graph as draw_entity_graph

__version__: str
