"""Where this checkout lies, and the checkpoint that it ships."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "tiny"
# Every checkpoint that comes with the package.
SHIPPED = sorted(path.parent for path in (ROOT / "models").glob("*/config.json"))
