"""Compilation of functions that only other compiled functions call.

Numba optimizes such a function and translates it to machine code as if Python called it, and then once more as a part
of each of its callers. Here it is linked into its callers only, so that the entry points alone are optimized and
translated, and no wrapper for calls from Python or C is built. Measured for the entry points of `RMILoss` (Numba 0.68,
AMD EPYC with AVX-512), seconds of one CPU core:

=================================================  =====
Numba's default                                     39.5
without wrappers                                    31.1
and functions linked, not optimized on their own    22.6
and no expressions of whole arrays in the kernels   18.2
=================================================  =====

All of them give the same bits. Expressions of whole arrays (``a[1:] = np.cumsum(b)``) compile the text of an error
message about shapes, which takes several seconds.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typed_passes import AnnotateTypes


class _InlinedLibrary(JITCodeLibrary):
    # Code that is linked into other libraries and never called from Python

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._final_module.verify()
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        return _NoEnvironment


class _NoEnvironment:
    # Numba stores the Python objects of a function in its machine code, which is missing here

    @staticmethod
    def set_env(name: str, environment: object) -> None:
        pass


@register_pass(mutates_CFG=False, analysis_only=True)
class _UseInlinedLibrary(AnalysisPass):
    _name = "segmi_use_inlined_library"

    def __init__(self) -> None:
        AnalysisPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.library = _InlinedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return False


class InlinedCompiler(CompilerBase):
    """Numba's compiler for functions that only compiled functions call."""

    def define_pipelines(self) -> list[Any]:
        """Return Numba's pipeline with another kind of library."""
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_UseInlinedLibrary, AnnotateTypes)
        pipeline.finalize()
        return [pipeline]
