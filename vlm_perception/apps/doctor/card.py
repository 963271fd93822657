"""Has a model answer about a drawn card with known boxes: the first thing to run with real weights or a new server."""

from __future__ import annotations

import json
import sys
import time

from vlm_perception.apps.doctor.findings import Finding, error, ok, unseen, warning
from vlm_perception.apps.doctor.probe import Probe, run_python
from vlm_perception.startup.arguments import StartupError, resolve_model

# Loading a large model from a slow disk and a first answer on a slow machine take many minutes.
_TIMEOUT_S = 3600.0
_GIB = 2**30


def probe_model(model: str) -> Finding:
    """Load a model, or ask a server, and have it find the things of the card.

    Args:
        model: `tiny`, a folder, a hub id or a URL; empty takes the default of the parameter `model`.
    """
    try:
        resolved = resolve_model(model)
    except StartupError as problem:
        return error("The files of the package are not found", str(problem), "source the workspace's setup file")
    return judge_probe(run_python(["-m", "vlm_perception.apps.doctor.card", resolved], {}, timeout_s=_TIMEOUT_S))


def judge_probe(probe: Probe) -> Finding:
    """Turn what `main` told in a child process into a finding."""
    if probe.problem:
        remedy = "mend what is said about the installation above, if anything is; then run this again"
        return unseen("The model could not be asked", probe.problem, remedy)
    facts = probe.facts
    if problem := facts.get("problem"):
        return error(
            "The model cannot be asked", f"{facts['model']}: {problem}", "see docs/servers.md and docs/robot.md"
        )
    width, height = facts["model_wh"]
    seen = (
        f"{facts['model']} ({facts['source']}): {facts['found']} of {facts['things']} things found at IoU "
        f"{facts['mean_iou']:.2f}, {facts['boxes']} boxes, coordinates {facts['coordinates'] or 'unknown'}; an image "
        f"of {width}x{height} px, {facts['answer_s']:.2f} s, {facts['tokens']} tokens, {facts['tokens_per_s']:.0f} a "
        f"second, {facts['memory_bytes'] / _GIB:.1f} GiB of this machine's memory"
    )
    if facts["coordinates"] == facts["expected"]:
        return ok("The model finds what is on a drawn card", seen)
    read = facts["coordinates"] or facts["otherwise"]
    if read:
        remedy = f"do not use it: its boxes would be read as {facts['expected']}; report this line"
        return error("The model writes boxes in another frame", f"{seen}; they fit as {read}", remedy)
    remedy = "try a larger model, or another number format; with a checkpoint of your own this may be meant so"
    return warning("The model does not find what is on a drawn card", f"{seen}; it wrote {facts['text']!r}", remedy)


def main(model: str) -> int:
    """In a child process: load the model, ask it, and print what it said as JSON."""
    # Here, because only the child process may need more than the standard library.
    import psutil

    from vlm_perception.engines.base import never_stop
    from vlm_perception.engines.factory import open_engine
    from vlm_perception.engines.probe_card import draw_card, judge_card
    from vlm_perception.errors import VlmPerceptionError
    from vlm_perception.settings import Settings
    from vlm_perception.types import Request

    model = model or Settings().model
    facts: dict[str, object] = {"model": model}
    try:
        engine = open_engine(model)
        card, began_s = draw_card(), time.perf_counter()
        answer = engine.answer(Request(card.frame, card.prompt, max_new_tokens=512), never_stop)
        answer_s = time.perf_counter() - began_s
        verdict, told = judge_card(answer.text, card, answer.model_wh), engine.describe()
        writing_s = answer.timings.generate_s - answer.timings.prefill_s
        facts |= {
            "source": told["source"],
            "expected": answer.coordinates,
            "coordinates": verdict.coordinates,
            "otherwise": verdict.otherwise,
            "boxes": verdict.boxes,
            "things": verdict.things,
            "found": verdict.found,
            "mean_iou": verdict.mean_iou,
            "model_wh": answer.model_wh,
            "answer_s": answer_s,
            "tokens": len(answer.tokens),
            "tokens_per_s": len(answer.tokens) / writing_s if writing_s > 0 else 0.0,
            "memory_bytes": psutil.Process().memory_info().rss,
            "text": answer.text[:200],
        }
        engine.close()
    except VlmPerceptionError as problem:
        facts["problem"] = str(problem)
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
