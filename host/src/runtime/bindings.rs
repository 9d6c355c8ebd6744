//! The WIT package in Rust. Generated here once; everything else names these types.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "executor",
    // What waits for a port is async; what does not is a plain call, which is cheaper.
    imports: {
        "taskwarden:plugin/inputs.open": async | trappable,
        "taskwarden:plugin/inputs.[method]reader.read": async | trappable,
        "taskwarden:plugin/journal": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "taskwarden:plugin/inputs.reader": super::caps::inputs::Reader,
        "taskwarden:plugin/outputs.writer": super::caps::outputs::Writer,
    },
});

pub(super) use self::taskwarden::plugin::{inputs, journal, log, outputs, progress, settings, tasks, types};
