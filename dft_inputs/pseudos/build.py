"""A folder of pseudopotentials, made from the recipes by `ld1.x`.

The folder holds one `El.upf` per element and nothing else, which is what `aiida-pseudo install family` wants. A file
that was built from the current recipe is kept, so that a build that was interrupted is finished by the next one;
files appear under their name only when complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from .ld1 import TIMEOUT, PseudoError, check_atom, run_ld1
from .recipes import Recipe, load_recipes
from .upf import check_upf, normalise


def build_upf(recipe: Recipe, executable: str = "ld1.x", timeout: float = TIMEOUT) -> str:
    """UPF text of one recipe, tested: eigenvalues, ghosts, header, line length; raises PseudoError."""
    run = run_ld1(recipe, executable, timeout)
    check_atom(recipe, run)
    text = normalise(run.upf)
    check_upf(text, recipe)
    return text


def build_family(
    folder: Path,
    elements: Iterable[str] | None = None,
    executable: str = "ld1.x",
    timeout: float = TIMEOUT,
    workers: int | None = None,
    report: Callable[[str, str], None] = lambda element, what: None,
) -> dict[str, Path]:
    """Make or complete a folder of `El.upf`.

    Args:
        folder: created where missing; what is in it and current is kept.
        elements: symbols, all 18 where None.
        executable: name or path of ld1.x.
        timeout: seconds per element.
        workers: elements at a time, the number of cores where None (and never more).
        report: called with (element, 'kept' or 'built') as elements are done.

    Returns:
        Path per element, in order of Z.

    Raises:
        RecipeError: an element without a recipe.
        PseudoError: one or more elements failed, after all others have been built.
    """
    recipes = load_recipes(elements)
    folder.mkdir(parents=True, exist_ok=True)
    todo = {element: recipe for element, recipe in recipes.items() if not is_current(folder / f"{element}.upf", recipe)}
    for element in recipes.keys() - todo.keys():
        report(element, "kept")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    failed: list[str] = []
    with ThreadPoolExecutor(max_workers=max(1, min(workers or cores, cores))) as pool:
        jobs = {pool.submit(build_upf, recipe, executable, timeout): element for element, recipe in todo.items()}
        for job in as_completed(jobs):
            element = jobs[job]
            try:
                write_whole(folder / f"{element}.upf", job.result())
            except PseudoError as error:
                failed.append(str(error))
            else:
                report(element, "built")
    if failed:
        raise PseudoError(f"{len(failed)} of {len(recipes)} pseudopotentials failed: " + "; ".join(sorted(failed)))
    return {element: folder / f"{element}.upf" for element in recipes}


def is_current(path: Path, recipe: Recipe) -> bool:
    """True if the file is a complete dataset built from this very recipe."""
    if not path.is_file():
        return False
    try:
        check_upf(path.read_text(errors="replace"), recipe)
    except PseudoError:
        return False
    return True


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either absent, the old one, or complete: never half of the new one.

    The temporary file lies beside the folder, as nothing but datasets may ever lie in it.
    """
    temporary = path.parent.parent / f".{path.parent.name}-{path.name}.{os.getpid()}.tmp"
    temporary.write_text(text)
    os.replace(temporary, path)
