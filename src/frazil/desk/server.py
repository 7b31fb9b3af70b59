"""What the page may ask the desk, and the server that answers.

========================================  ============================================================================
``GET /``, ``/static/NAME``               the page and what it is made of, by a fixed list of names
``GET /state``                            classes, scenes, revision, what is being worked on, notes
``GET /labels``                           labels and their revision
``GET /tile/SCENE/LAYER/Z/X/Y``           a picture; ``?s=LOW,HIGH[,LOW,HIGH]`` in dB
``GET /value/SCENE?x=&y=``                what is known of a place
``GET /lines/SCENE/edge``                 the ice edge; ``graticule``; ``outlines`` of classes; those of the ``chart``
``GET /segment/SCENE?x=&y=``              the patch of a class around a place
``GET /places/SCENE``                     where to look next
``GET /disagreements/SCENE``              where map and chart differ
``GET /job/N``                            what became of a job
``POST /session``                         trades the token of the address for a cookie
``POST /shape``                           an outline buffered, split or holed; nothing is kept of it
``POST /commands``                        puts and removes labels
``POST /learn``, ``/review``, ``/export``  begin a job
``POST /verdict``                         keeps what somebody says of a disagreement
``GET /training``                         how far the training of a network is
``POST /train``, ``/stop``                begins it, or goes on with it; stops it
``POST /save``, ``/shutdown``             write the labels; end
========================================  ============================================================================
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from frazil.desk.labels import StaleError
from frazil.desk.session import Session
from frazil.desk.shapes import graticule_lines, reshaped
from frazil.errors import FrazilError, OptionError, OutputError

STATIC = {
    "desk.js": "text/javascript",
    "view.js": "text/javascript",
    "draw.js": "text/javascript",
    "talk.js": "text/javascript",
    "desk.css": "text/css",
    "ol.js": "text/javascript",
    "ol.css": "text/css",
}
Handler = Callable[[Request], Awaitable[Response]]


def application(session: Session, on_shutdown: Callable[[], None] = lambda: None) -> Starlette:
    """The ASGI application; `frazil.desk.safety.Guard` has to stand before it.

    Args:
        session: what is on the desk.
        on_shutdown: called when the page asks the desk to end.
    """

    def guarded(work: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await work(request)
            except StaleError as error:
                return JSONResponse({"error": str(error)}, 409)
            except OutputError as error:  # the disk is full: the page keeps what it has, and tries again
                return JSONResponse({"error": str(error)}, 507)
            except FrazilError as error:
                return JSONResponse({"error": str(error)}, 400)

        return answer

    async def page(_: Request) -> Response:
        return Response(_read("index.html"), media_type="text/html", headers={"cache-control": "no-store"})

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return JSONResponse({"error": "There is no such file."}, 404)
        return Response(_read(name), media_type=STATIC[name], headers={"cache-control": "no-cache"})

    async def state(_: Request) -> Response:
        return _fresh(session.state())

    async def labels(_: Request) -> Response:
        revision, found = session.labels.snapshot()
        return _fresh({"revision": revision, "labels": [asdict(label) for label in found]})

    async def tile(request: Request) -> Response:
        p = request.path_params
        scene = session.scene(p["scene"])
        stretch = _stretch(request.query_params.get("s", ""))
        made = await run_in_threadpool(scene.tile, p["layer"].replace("~", "/"), p["z"], p["x"], p["y"], stretch)
        if made is None:
            return Response(b"", 204)
        return Response(made, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    async def value(request: Request) -> Response:
        scene = session.scene(request.path_params["scene"])
        return _fresh(scene.at(*_place(request)))

    async def segment(request: Request) -> Response:
        scene = session.scene(request.path_params["scene"])
        return _fresh({"rings": await run_in_threadpool(scene.segment, *_place(request))})

    async def places(request: Request) -> Response:
        scene = session.scene(request.path_params["scene"])
        found = await run_in_threadpool(scene.places, session.labels.labels)
        return _fresh({"places": found, **scene.score(session.labels.labels)})

    async def lines(request: Request) -> Response:
        scene, kind = session.scene(request.path_params["scene"]), request.path_params["kind"]
        return _fresh(await run_in_threadpool(_lines, session, scene.name, kind))

    async def disagreements(request: Request) -> Response:
        name = session.scene(request.path_params["scene"]).name
        if name not in session.disagreements:
            raise OptionError("The map was not compared with the chart yet.")
        return _fresh(json.loads(session.disagreements[name].to_json()))

    async def job(request: Request) -> Response:
        return _fresh({"result": session.result(request.path_params["number"])})

    async def commands(request: Request) -> Response:
        told = await _json(request)
        revision, wanted = told.get("revision"), told.get("commands")
        if not isinstance(revision, int) or not isinstance(wanted, list):
            raise OptionError('Expected {"revision": number, "commands": [...]}.')
        return _fresh({"revision": await run_in_threadpool(session.command, wanted, revision)})

    async def shape(request: Request) -> Response:
        return _fresh({"outlines": await run_in_threadpool(reshaped, await _json(request))})

    async def learn(request: Request) -> Response:
        return _fresh({"job": session.learn(str((await _json(request)).get("scene", "")))})

    async def review(request: Request) -> Response:
        return _fresh({"job": session.review(str((await _json(request)).get("scene", "")))})

    async def verdict(request: Request) -> Response:
        told = await _json(request)
        words = (told.get(k) for k in ("number", "verdict", "comment"))
        return _fresh({"verdicts": await run_in_threadpool(session.judge, str(told.get("scene", "")), *words)})

    async def export(request: Request) -> Response:
        told = await _json(request)
        approved = told.get("approved") is True
        return _fresh({"job": session.take_away(str(told.get("scene", "")), approved=approved)})

    async def train(request: Request) -> Response:
        told = await _json(request)
        method, epochs = told.get("method"), told.get("epochs")
        if not isinstance(method, str) or not isinstance(epochs, int) or isinstance(epochs, bool):
            raise OptionError('Expected {"method": name, "epochs": number}.')
        await run_in_threadpool(session.train, method, epochs)
        return _fresh({"ok": True})

    async def stop(_: Request) -> Response:
        await run_in_threadpool(session.stop_training)
        return _fresh({"ok": True})

    async def training(_: Request) -> Response:
        return _fresh(await run_in_threadpool(session.trained))

    async def save(_: Request) -> Response:
        path = await run_in_threadpool(session.labels.save)
        return _fresh({"labels": str(path)})

    async def shutdown(_: Request) -> Response:
        asyncio.get_running_loop().call_later(0.2, on_shutdown)
        return _fresh({"ok": True})

    gets = {
        "/": page,
        "/static/{name}": static,
        "/state": state,
        "/labels": labels,
        "/tile/{scene}/{layer}/{z:int}/{x:int}/{y:int}": tile,
        "/value/{scene}": value,
        "/segment/{scene}": segment,
        "/places/{scene}": places,
        "/lines/{scene}/{kind}": lines,
        "/disagreements/{scene}": disagreements,
        "/job/{number:int}": job,
        "/training": training,
    }
    posts = {
        "/shape": shape,
        "/commands": commands,
        "/learn": learn,
        "/review": review,
        "/verdict": verdict,
        "/export": export,
        "/train": train,
        "/stop": stop,
        "/save": save,
        "/shutdown": shutdown,
    }
    routes = [Route(path, guarded(work), methods=["GET"]) for path, work in gets.items()]
    routes += [Route(path, guarded(work), methods=["POST"]) for path, work in posts.items()]
    return Starlette(routes=routes)


def _read(name: str) -> bytes:
    return (files("frazil") / "data" / "desk" / name).read_bytes()


def _fresh(content: Any) -> Response:
    return JSONResponse(content, headers={"cache-control": "no-store"})


async def _json(request: Request) -> dict[str, Any]:
    try:
        told = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise OptionError("This is no JSON.") from None
    if not isinstance(told, dict):
        raise OptionError("Expected an object.")
    return told


def _place(request: Request) -> tuple[float, float]:
    try:
        x, y = (float(request.query_params.get(name, "")) for name in ("x", "y"))
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError
    except ValueError:
        raise OptionError("A place is x and y, metres on the map.") from None
    return x, y


def _stretch(text: str) -> list[tuple[float, float]]:
    if not text:
        return []
    try:
        numbers = [float(word) for word in text.split(",")]
        if len(numbers) not in (2, 4) or not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise OptionError("A stretch is LOW,HIGH or two of them, dB.") from None
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _lines(session: Session, name: str, kind: str) -> dict[str, Any]:
    from frazil.labels.polygons import find_crs
    from frazil.maps.edges import ice_edge
    from frazil.maps.polygons import ice_polygons

    scene = session.scenes[name]
    if kind == "graticule":
        return graticule_lines(scene.grid)
    if kind == "edge":
        frame = ice_edge(scene.now)[["length_km", "geometry"]]
    elif kind == "outlines":
        frame = ice_polygons(scene.now, min_area_km2=25.0, simplify_m=4 * scene.grid.spacing_m)[["code", "geometry"]]
    elif kind == "chart" and session.chart is not None:
        from shapely import box

        from frazil.labels.polygons import read_polygons

        frame = read_polygons(session.chart).to_crs(find_crs(session.crs)).clip(box(*scene.grid.bounds))[["geometry"]]
    else:
        raise OptionError("Lines are of edge, outlines or chart, the last of a desk with a chart.")
    told: dict[str, Any] = json.loads(frame.to_json())
    return told
