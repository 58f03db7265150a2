"""Named versions of a model, kept in a folder: where each came from, what changed, and the way in and out.

A version here is a whole checkpoint, baseline and SSA-ME together, as a run of training leaves it.
"""

from ssa_me.shelf.exchange import export_folder, export_zip, import_checkpoint
from ssa_me.shelf.store import BASE, ModelVersion, Shelf

__all__ = ["BASE", "ModelVersion", "Shelf", "export_folder", "export_zip", "import_checkpoint"]
