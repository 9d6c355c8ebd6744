//! What an artifact is, read from its bytes without compiling or running it.

use std::borrow::Cow;

use serde::Serialize;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use super::Refusal;

/// Bytes of one page of linear memory, unless a memory says otherwise.
const PAGE_BYTES: u64 = 1 << 16;

/// What an artifact is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Size of the artifact.
    pub artifact_bytes: u64,
    /// Whether it is a core module that is wrapped into a component when it is loaded.
    pub wrapped_core_module: bool,
    /// What the component imports, as `namespace:package/interface@version`.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Core modules inside it.
    pub core_modules: u32,
    /// Linear memories of its core modules.
    pub memories: Vec<MemoryShape>,
    /// Tables of its core modules.
    pub tables: Vec<TableShape>,
    /// Functions of its core modules.
    pub functions: u64,
    /// Bytes of their code.
    pub code_bytes: u64,
}

/// One linear memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryShape {
    /// What it has at the start.
    pub initial_bytes: u64,
    /// What its module lets it grow to, where it says so.
    pub maximum_bytes: Option<u64>,
}

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TableShape {
    /// What it has at the start.
    pub initial_elements: u64,
    /// What its module lets it grow to, where it says so.
    pub maximum_elements: Option<u64>,
}

/// Reads an artifact's shape: a component, or a core module that can be wrapped into one.
///
/// # Errors
/// [`Refusal::Malformed`] when it is neither.
pub fn inspect(artifact: &[u8]) -> Result<Inspection, Refusal> {
    let component = as_component(artifact)?;
    let mut found = shape(&component).map_err(|error| Refusal::Malformed(error.to_string()))?;
    found.artifact_bytes = super::meter::to_u64(artifact.len());
    found.wrapped_core_module = matches!(component, Cow::Owned(_));
    Ok(found)
}

/// The artifact as a component; a core module that carries its world in a custom section is wrapped.
///
/// # Errors
/// [`Refusal::Malformed`] when it is neither.
pub(super) fn as_component(artifact: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    if Parser::is_component(artifact) {
        return Ok(Cow::Borrowed(artifact));
    }
    if !Parser::is_core_wasm(artifact) {
        return Err(Refusal::Malformed(
            "it does not begin as WebAssembly does; give the .wasm file that the compiler wrote, not its text form or an archive"
                .to_owned(),
        ));
    }
    let wrapped = ComponentEncoder::default().module(artifact).and_then(|encoder| encoder.validate(true).encode());
    wrapped.map(Cow::Owned).map_err(|error| {
        Refusal::Malformed(format!(
            "it is a core module and could not be wrapped into a component (was it built with wit-bindgen?): {error:#}"
        ))
    })
}

/// Reads the shape of a component.
pub(super) fn shape(component: &[u8]) -> Result<Inspection, wasmparser::BinaryReaderError> {
    let mut found = Inspection::default();
    // Only the outermost component's imports and exports are the plugin's; those inside are joined to each other.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if encoding == Encoding::Module {
                    found.core_modules += 1;
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    let import = import?;
                    // A type's name is spelled out by the importer itself: there is nothing to grant.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        found.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    let export = export?;
                    if export.kind != ComponentExternalKind::Type {
                        found.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    let page = memory.page_size_log2.map_or(PAGE_BYTES, |log2| 1_u64.checked_shl(log2).unwrap_or(PAGE_BYTES));
                    found.memories.push(MemoryShape {
                        initial_bytes: memory.initial.saturating_mul(page),
                        maximum_bytes: memory.maximum.map(|pages| pages.saturating_mul(page)),
                    });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let table = table?.ty;
                    found.tables.push(TableShape { initial_elements: table.initial, maximum_elements: table.maximum });
                }
            }
            Payload::CodeSectionStart { count, size, .. } => {
                found.functions += u64::from(count);
                found.code_bytes += u64::from(size);
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_outer_names_and_the_inner_shapes() {
        let text = r#"(component
            (import "a:b/c@1.0.0" (instance))
            (core module (memory 2 3) (table 5 funcref) (func (export "f") nop))
            (component (import "inner" (func)))
        )"#;
        let found = inspect(&wat::parse_str(text).expect("good text")).expect("a component");
        assert_eq!((found.imports.as_slice(), found.core_modules, found.functions), (&["a:b/c@1.0.0".to_owned()][..], 1, 1));
        assert_eq!(found.memories, [MemoryShape { initial_bytes: 131_072, maximum_bytes: Some(196_608) }]);
        assert_eq!(found.tables, [TableShape { initial_elements: 5, maximum_elements: None }]);
    }

    #[test]
    fn what_is_not_a_component_is_refused_in_words() {
        for (bytes, word) in [
            (b"not wasm at all".to_vec(), "does not begin as WebAssembly"),
            (wat::parse_str("(module (import \"env\" \"f\" (func)))").expect("good text"), "core module"),
            (wat::parse_str("(component (core module))").expect("good text")[..12].to_vec(), "unexpected end"),
        ] {
            let refusal = inspect(&bytes).expect_err(word).to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
