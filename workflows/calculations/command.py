"""What every compute job has in common: input files, one `argonaut` command, output files.

A subclass says which command it runs, which files go in and which must come out; its parser turns those into nodes.
The commands never import AiiDA, so that a person can run the same line by hand in the job's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, cast

from aiida import orm
from aiida.common import ValidationError
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, ExitCode
from aiida.parsers import Parser

from ..data import FilesData
from ..patience import be_patient

be_patient()
STDOUT, STDERR = "argonaut.out", "argonaut.err"
OUTPUT_FOLDER = "output"
LAST_WORDS = 400
"""Characters of standard error that an exit message quotes."""


class CommandCalculation(CalcJob):
    """A calculation job that runs one `argonaut` compute command."""

    CACHE_VERSION = 1
    """Raise when a change of the code changes results that AiiDA's cache would otherwise take for the same."""
    EXPECTED: ClassVar[tuple[str, ...]] = ()
    """Files that the command must leave in its output folder."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, options and exit codes shared by all compute jobs."""
        super().define(spec)
        spec.input("settings", valid_type=orm.Dict, help="What to do, with its seed and the versions of the numerics.")
        options = spec.inputs["metadata"]["options"]
        options["resources"].default = {"num_machines": 1, "num_mpiprocs_per_machine": 1}
        options["withmpi"].default = False
        options["environment_variables"].default = {"OMP_NUM_THREADS": "1"}
        options["parser_name"].default = f"argonaut.{cls.__name__.removesuffix('Calculation').lower()}"
        spec.exit_code(
            300, "ERROR_COMMAND_FAILED", message="The command left no {missing}; its last words: {message}",
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            310, "ERROR_OUTPUT_UNREADABLE", message="The command's output cannot be used: {message}",
            invalidates_cache=True,
        )  # fmt: skip

    def arguments(self) -> list[str]:
        """The command line after `argonaut`; results go to the folder `output`."""
        raise TypeError(f"{type(self).__name__} does not say which command it runs")

    def documents(self) -> dict[str, Any]:
        """JSON files to write into the job's folder, by name."""
        return {}

    def nodes(self) -> dict[str, FilesData]:
        """Nodes whose files are to be copied into the job's folder, by the name of the sub-folder they go to."""
        return {}

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the input files and describe the job to AiiDA."""
        for name, document in self.documents().items():
            with folder.open(name, "w") as handle:
                json.dump(document, handle, indent=1)
        code = CodeInfo()
        code.code_uuid = self.inputs.code.uuid
        code.cmdline_params = self.arguments()
        code.stdout_name, code.stderr_name = STDOUT, STDERR
        job = CalcInfo()
        job.codes_info = [code]
        job.local_copy_list = [
            (node.uuid, name, f"{target}/{name}")
            for target, node in self.nodes().items()
            for name in node.base.repository.list_object_names()
        ]
        job.retrieve_list = [STDOUT, STDERR, (f"{OUTPUT_FOLDER}/*", ".", 2)]
        return job


class CommandParser(Parser):
    """Checks that the expected files came back, then lets a subclass turn them into nodes."""

    CACHE_VERSION = 1

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Read the output; a missing or unusable file becomes an exit code that quotes what the command said."""
        expected = cast(type[CommandCalculation], self.node.process_class).EXPECTED
        with self.retrieved.base.repository.as_path() as root:
            folder = Path(root) / OUTPUT_FOLDER
            missing = [name for name in expected if not (folder / name).is_file()]
            if missing:
                return self.exit_codes.ERROR_COMMAND_FAILED.format(
                    missing=", ".join(missing), message=last_words(Path(root))
                )
            try:
                return self.read(folder)
            except (ValueError, ValidationError) as error:
                return self.exit_codes.ERROR_OUTPUT_UNREADABLE.format(message=str(error))

    def read(self, folder: Path) -> ExitCode | None:
        """Register the outputs (`self.out`) from the files in `folder`."""
        raise TypeError(f"{type(self).__name__} does not say what it reads")


def last_words(folder: Path) -> str:
    """The end of what a command said: its standard error, else its standard output, else the scheduler's."""
    for name in (STDERR, "_scheduler-stderr.txt", STDOUT):
        path = folder / name
        text = " ".join(path.read_text(errors="replace").split()) if path.is_file() else ""
        if text:
            return text[-LAST_WORDS:]
    return "(nothing was said)"


def read_json(path: Path) -> Any:
    """The document of a JSON file; ValueError names the file if it is not one."""

    def refused(constant: str) -> None:
        raise ValueError(f"{path.name} holds {constant}, which is no number")

    try:
        return json.loads(path.read_text(), parse_constant=refused)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: not valid JSON: {error}") from error
