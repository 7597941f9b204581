"""What the command line knows of the settings before anything is loaded."""

from __future__ import annotations

DEFAULT_STORE = "sqlite:///runs/journeyman.db"
"""Where runs go that name no store, relative to the folder they are started in."""
