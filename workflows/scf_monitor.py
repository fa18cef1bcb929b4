"""A monitor that ends self-consistent cycles which come nowhere, so that the rescue can begin.

The one of aiida-quantumespresso 5.1 (`quantumespresso.accuracy_stuck`) asks for a path relative to a folder that the
transport of aiida-core 2.9 is not in, never gets the file, and says nothing of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from aiida import orm
from aiida.transports import Transport
from aiida_quantumespresso.tools.monitors.accuracy_stuck import ACCURACY_STUCK_MESSAGE_PREFIX

from ..dft_inputs.scf import LOOK_BACK, accuracies, hopeless, slope
from .patience import be_patient

be_patient()
MONITOR = {"entry_point": "argonaut.scf_stuck", "minimum_poll_interval": 60}
"""The input `monitors` of a calculation has this; looked at once a minute, which most labels do not last."""


def scf_stuck(node: orm.CalcJobNode, transport: Transport) -> str | None:
    """Why a running pw.x shall be stopped, or None. The message begins as that of the plugin's monitor does."""
    output = node.base.attributes.get("output_filename", "aiida.out")
    path = str(PurePosixPath(str(node.get_remote_workdir())) / output)
    if not transport.isfile(path):
        return None  # it has not begun
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "pw.out"
        transport.getfile(path, copy)
        values = accuracies(copy.read_text(errors="replace"))
    asked = node.inputs.parameters.get_dict().get("ELECTRONS", {})
    threshold, allowed = asked.get("conv_thr", 1e-6), asked.get("electron_maxstep", 100)
    if not hopeless(values, threshold, allowed):
        return None
    return (
        f"{ACCURACY_STUCK_MESSAGE_PREFIX} in the last {LOOK_BACK} occurrences: {values[-1]:.1e} Ry after {len(values)} "
        f"steps, {slope(values):+.2f} decades per step, {threshold:.1e} Ry wanted within {allowed}"
    )
