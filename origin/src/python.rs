//! What Python sees of the origin side: the words that label its metrics.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::counters::{CLOSE_WORDS, FAULT_WORDS};

/// Adds this crate's names to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("FAULT_WORDS", PyTuple::new(module.py(), FAULT_WORDS)?)?;
    module.add("CLOSE_WORDS", PyTuple::new(module.py(), CLOSE_WORDS)?)
}
