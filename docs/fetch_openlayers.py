"""Fetch OpenLayers, which the desk's page ships, with the licences of all that it is made of. Needs npm.

    python docs/fetch_openlayers.py [VERSION]

Writes ol.js, ol.css, LICENSES.txt and vendor.json (versions, SHA-256) into src/frazil/data/desk.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "10.11.0"
TARGET = Path(__file__).resolve().parents[1] / "src" / "frazil" / "data" / "desk"
HEAD = """The page of the desk ships OpenLayers (ol.js, ol.css), unchanged but for the address of its source map.
Its file holds code of these packages; each is under the licence that follows its name.
"""


def main() -> None:
    """See the module."""
    version = sys.argv[1] if len(sys.argv) > 1 else VERSION
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "init", "-y"], cwd=folder, check=True, capture_output=True)
        subprocess.run(["npm", "install", "--ignore-scripts", f"ol@{version}"], cwd=folder, check=True)
        modules = Path(folder) / "node_modules"
        script = (modules / "ol" / "dist" / "ol.js").read_text(encoding="utf-8")
        lines = [line for line in script.splitlines() if not line.startswith("//# sourceMappingURL")]
        (TARGET / "ol.js").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (TARGET / "ol.css").write_bytes((modules / "ol" / "ol.css").read_bytes())
        packages, texts = {}, [HEAD]
        for told in sorted([*modules.glob("*/package.json"), *modules.glob("@*/*/package.json")]):
            about = json.loads(told.read_text(encoding="utf-8"))
            if about["name"].startswith("@types/"):
                continue
            packages[about["name"]] = about["version"]
            texts.append(f"\n{'=' * 80}\n{about['name']} {about['version']}: {about.get('license', 'see below')}\n")
            texts += [file.read_text(encoding="utf-8") for file in sorted(told.parent.glob("LICEN[SC]E*"))]
    (TARGET / "LICENSES.txt").write_text("\n".join(texts), encoding="utf-8")
    sums = {name: hashlib.sha256((TARGET / name).read_bytes()).hexdigest() for name in ("ol.js", "ol.css")}
    (TARGET / "vendor.json").write_text(json.dumps({"packages": packages, "sha256": sums}, indent=2) + "\n")


if __name__ == "__main__":
    main()
