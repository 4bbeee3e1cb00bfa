//! The extension module `_headland`: the node as Python sees it, with the classes of the other two crates.
//!
//! Everything that may wait lets the interpreter go. The worker threads never ask for it.

use std::sync::Arc;
use std::time::Duration;

use headland_cache::python::{Headers, PyLedger, make_rule};
use headland_cache::{DiskTier, Epoch};
use parking_lot::Mutex;
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::explain;
use crate::inspection::Question;
use crate::node::Node;
use crate::purge::Settled;
use crate::report::report;
use crate::running::Running;
use crate::secret::SECRET_BYTES;
use crate::settings::{ListenerKind, Settings};
use crate::tier;

create_exception!(_headland, SettingsError, PyValueError, "A snapshot was refused as a whole; one sentence says why.");
create_exception!(_headland, DiskError, PyOSError, "The disk tier cannot be opened; one sentence says why.");
create_exception!(_headland, ListenError, PyOSError, "An address cannot be listened on; one sentence says why.");

/// A node: made from a snapshot, started, reloaded, drained.
#[pyclass(name = "Node", frozen, module = "_headland")]
struct PyNode {
    node: Arc<Node>,
    settings: Mutex<Settings>,
    running: Mutex<Option<Running>>,
}

/// The disk tier of a node that does not run.
#[pyclass(name = "Disk", frozen, module = "_headland")]
struct PyDisk {
    settings: Settings,
    disk: DiskTier,
}

#[pymethods]
impl PyDisk {
    #[new]
    fn new(py: Python<'_>, snapshot_json: &[u8]) -> PyResult<Self> {
        let settings = parse(snapshot_json)?;
        let disk = settings.cache.disk.as_ref().ok_or_else(|| SettingsError::new_err("there is no [cache.disk]"))?;
        let disk = py.detach(|| tier::open_aside(disk)).map_err(DiskError::new_err)?;
        Ok(PyDisk { settings, disk })
    }

    fn inspect<'py>(&self, py: Python<'py>, question_json: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let question = question(question_json)?;
        let told = py.detach(|| tier::inspect_aside(&self.disk, &self.settings, &question));
        Ok(PyBytes::new(py, told.map_err(PyValueError::new_err)?.to_string().as_bytes()))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.disk.close(tier::CLOSE_WITHIN));
    }
}

fn question(json: &[u8]) -> PyResult<Question> {
    serde_json::from_slice(json).map_err(|error| PyValueError::new_err(format!("question: {error}")))
}

/// A purge that waits: number, method, URL, fields, client, whether its address is allowed.
type WaitingPurge = (u64, String, String, Vec<(&'static str, String)>, String, bool);

fn parse(snapshot_json: &[u8]) -> PyResult<Settings> {
    serde_json::from_slice(snapshot_json).map_err(|error| SettingsError::new_err(format!("snapshot: {error}")))
}

#[pymethods]
impl PyNode {
    #[new]
    fn new(py: Python<'_>, snapshot_json: &[u8]) -> PyResult<Self> {
        let settings = parse(snapshot_json)?;
        let node = py.detach(|| Node::new(&settings)).map_err(SettingsError::new_err)?;
        Ok(PyNode { node, settings: Mutex::new(settings), running: Mutex::new(None) })
    }

    #[getter]
    #[allow(clippy::unused_self)] // a property of the object, as Python sees it
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[pyo3(signature = (secret = None))]
    fn start(&self, py: Python<'_>, secret: Option<[u8; SECRET_BYTES]>) -> PyResult<()> {
        py.detach(|| {
            if let Some(secret) = secret {
                self.node.secret.keep(secret);
            }
            let mut running = self.running.lock();
            if running.is_some() {
                return Err(PyRuntimeError::new_err("the node was started already"));
            }
            *running = Some(Running::start(&self.node, &self.settings.lock()).map_err(ListenError::new_err)?);
            Ok(())
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let word = |kind| match kind {
            ListenerKind::Http => "http",
            ListenerKind::Https => "https",
        };
        let running = self.running.lock();
        let addresses = running.iter().flat_map(|running| &running.addresses);
        addresses.map(|(kind, address)| (word(*kind), address.to_string())).collect()
    }

    fn reload(&self, py: Python<'_>, snapshot_json: &[u8]) -> PyResult<()> {
        let settings = parse(snapshot_json)?;
        py.detach(|| {
            let mut known = self.settings.lock();
            if settings.listeners != known.listeners {
                return Err(SettingsError::new_err(
                    "listen: addresses cannot be changed by a reload; restart the node",
                ));
            }
            self.node.reload(&settings).map_err(SettingsError::new_err)?;
            *known = settings;
            Ok(())
        })
    }

    fn drain(&self, py: Python<'_>, deadline_ms: u64) -> bool {
        py.detach(|| {
            let running = self.running.lock().take();
            running.is_none_or(|running| running.drain(Duration::from_millis(deadline_ms)))
        })
    }

    /// Virtual time for tests that run a node in their own process; nothing reachable from outside calls it.
    fn advance_clock(&self, by_ms: u32) -> u64 {
        self.node.clock.advance(u64::from(by_ms));
        self.node.clock.now().as_millis()
    }

    fn metrics<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let text = py.detach(|| report(&self.node).to_string());
        PyBytes::new(py, text.as_bytes())
    }

    fn ledger(&self) -> PyLedger {
        PyLedger::from_node(self.node.ledger.clone())
    }

    /// What active checks say of a server; false when no origin has it.
    fn set_server_health(&self, origin: &str, server: &str, up: bool) -> bool {
        let snapshot = self.node.snapshot();
        snapshot.groups.get(origin).is_some_and(|group| group.checked(server, !up, std::time::Instant::now()))
    }

    fn canonical_url(&self, url: &str) -> PyResult<(&'static str, String, String)> {
        explain::canonical(&self.node, url).map_err(PyValueError::new_err)
    }

    #[allow(clippy::needless_pass_by_value)] // the border takes over what it is given
    fn varied(&self, url: &str, headers: Vec<(String, String)>) -> PyResult<Vec<(String, String)>> {
        explain::varied(&self.node, url, &headers).map_err(PyValueError::new_err)
    }

    #[allow(clippy::needless_pass_by_value)] // the border takes over what it is given
    #[pyo3(signature = (url, headers, method = "GET"))]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        url: &str,
        headers: Vec<(String, String)>,
        method: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let told = explain::explain(&self.node, method, url, &headers).map_err(PyValueError::new_err)?;
        Ok(PyBytes::new(py, told.to_string().as_bytes()))
    }

    fn next_purge(&self, py: Python<'_>, timeout_ms: u64) -> Option<WaitingPurge> {
        let (id, purge) = py.detach(|| self.node.purges.take(Duration::from_millis(timeout_ms)))?;
        Some((id, purge.method, purge.url, purge.fields, purge.client.to_string(), purge.allowed))
    }

    fn answer_purge(&self, id: u64, status: u16, body: String) {
        self.node.purges.settle(id, Settled { status, body });
    }

    /// The answer to a question about the disk tier, both as JSON.
    fn inspect<'py>(&self, py: Python<'py>, question_json: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let question = question(question_json)?;
        let told = py.detach(|| tier::inspect(&self.node, &question)).map_err(PyValueError::new_err)?;
        Ok(PyBytes::new(py, told.to_string().as_bytes()))
    }

    fn forget_rules(&self, py: Python<'_>, until: u64) -> u64 {
        py.detach(|| self.node.forget_rules(Epoch(until))).0
    }

    /// Objects and bytes that each of these purges would reach.
    #[pyo3(signature = (purges, headers = None))]
    #[allow(clippy::needless_pass_by_value)] // the border takes over what it is given
    fn reach(&self, py: Python<'_>, purges: Vec<(String, String)>, headers: Headers) -> PyResult<Vec<(u64, u64)>> {
        let rules = purges.iter().map(|(kind, value)| make_rule(kind, value, false, 0, headers.as_deref()));
        let rules: Vec<_> = rules.collect::<PyResult<_>>()?;
        let reached = py.detach(|| self.node.reach(&rules));
        Ok(reached.into_iter().map(|reach| (reach.objects, reach.bytes)).collect())
    }
}

/// The module: this crate's names and those of the crates below.
#[pymodule]
fn _headland(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<PyNode>()?;
    module.add_class::<PyDisk>()?;
    module.add("DiskError", module.py().get_type::<DiskError>())?;
    module.add("SettingsError", module.py().get_type::<SettingsError>())?;
    module.add("ListenError", module.py().get_type::<ListenError>())?;
    headland_cache::python::register(module)?;
    headland_origin::python::register(module)
}
