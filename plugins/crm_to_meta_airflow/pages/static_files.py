"""The style and the scripts of the pages, by name. A mounted folder would be served without a login."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Response

from crm_to_meta.report.layout import TEMPLATES_FOLDER

STATIC_FOLDER: Final = Path(__file__).resolve().parent / "static"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PATHS: Final = (TEMPLATES_FOLDER / "colours.css", *STATIC_FOLDER.iterdir())
_FILES: Final = {path.name: path for path in _PATHS if path.suffix in _TYPES}

router = APIRouter()


@router.get("/static/{name}")
def serve_file(name: str) -> Response:
    """Serve one of the known files; a name with a path in it is not known."""
    path = _FILES.get(name)
    if path is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "private, max-age=300"}
    return Response(path.read_bytes(), media_type=f"{_TYPES[path.suffix]}; charset=utf-8", headers=headers)
