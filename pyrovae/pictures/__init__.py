"""The pictures of a run that are worth a look: its latent space, and what is decoded from points of it."""

from pyrovae.pictures.drawing import PICTURE_FILES, PictureOptions, Pictures, draw_pictures
from pyrovae.pictures.overview import LatentOverview

__all__ = ["PICTURE_FILES", "LatentOverview", "PictureOptions", "Pictures", "draw_pictures"]
