"""Everything that is wrong with a data set on disk, at once."""

from uamp_data.check.tree import TreeReport, check_tree, inspect_tree
from uamp_data.check.video import Problem

__all__ = ["Problem", "TreeReport", "check_tree", "inspect_tree"]
