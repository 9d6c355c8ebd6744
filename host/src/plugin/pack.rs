//! The manifest travels inside the `.wasm`, as a custom section, so that a plugin is one file.

use std::ops::Range;

use wasm_encoder::{CustomSection, Encode};
use wasmparser::{BinaryReader, Parser};

use super::{Manifest, ManifestError};

/// The custom section that holds the text of `plugin.toml`.
pub const MANIFEST_SECTION: &str = "taskwarden:manifest";

/// The most bytes a packed manifest may have: it is read before anything else is known of an artifact.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// Every WebAssembly binary starts with eight bytes of magic number, version and layer.
const PREAMBLE_BYTES: usize = 8;
/// The section id that components and core modules share for custom sections.
const CUSTOM_SECTION_ID: u8 = 0;

/// Why a manifest could not be put into an artifact or read out of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Neither a component nor a core module.
    #[error("this is not a WebAssembly binary ({0}); build the plugin first and give its .wasm file")]
    NotWasm(String),
    /// Too long to be a manifest.
    #[error("the manifest has {bytes} bytes and at most {MANIFEST_BYTES_MAX} are read; shorten payload_schema or metadata")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// More than one manifest: it would be unclear which one holds.
    #[error("the artifact carries more than one manifest; pack it again, which keeps one")]
    Twice,
    /// Not UTF-8, not TOML, or not a valid manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The artifact with `manifest` inside it, in place of the one it may have carried. The rest is left as it is, byte for byte.
///
/// # Errors
/// When `wasm` is not a WebAssembly binary or the manifest is too long.
pub fn pack(wasm: &[u8], manifest: &Manifest) -> Result<Vec<u8>, PackError> {
    let text = manifest.to_toml();
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(PackError::TooLong { bytes: text.len() });
    }
    // What was built in memory may hold what TOML cannot say (a JSON null); better refused here than found missing later.
    Manifest::parse(&text)?;
    let mut packed = Vec::with_capacity(wasm.len().saturating_add(text.len()).saturating_add(64));
    let mut copied_to = 0;
    for old in manifest_sections(wasm)? {
        packed.extend_from_slice(wasm.get(copied_to..old.whole.start).unwrap_or_default());
        copied_to = old.whole.end;
    }
    packed.extend_from_slice(wasm.get(copied_to..).unwrap_or_default());
    packed.push(CUSTOM_SECTION_ID);
    CustomSection { name: MANIFEST_SECTION.into(), data: text.as_bytes().into() }.encode(&mut packed);
    Ok(packed)
}

/// The manifest that an artifact carries, if it carries one.
///
/// # Errors
/// When `wasm` is not a WebAssembly binary, or what it carries is not one valid manifest.
pub fn unpack(wasm: &[u8]) -> Result<Option<Manifest>, PackError> {
    let sections = manifest_sections(wasm)?;
    let [section] = sections.as_slice() else {
        return if sections.is_empty() { Ok(None) } else { Err(PackError::Twice) };
    };
    let bytes = wasm.get(section.text.clone()).unwrap_or_default();
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(PackError::TooLong { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| ManifestError(format!("not UTF-8: {e}")))?;
    Ok(Some(Manifest::parse(text)?))
}

/// Where one manifest lies in an artifact.
struct ManifestSection {
    /// From the section's id to its last byte.
    whole: Range<usize>,
    /// The TOML text alone.
    text: Range<usize>,
}

/// Walks the outermost sections only: a component that contains another plugin does not inherit its manifest.
fn manifest_sections(wasm: &[u8]) -> Result<Vec<ManifestSection>, PackError> {
    if !Parser::is_component(wasm) && !Parser::is_core_wasm(wasm) {
        return Err(PackError::NotWasm("the first bytes are not those of a module or a component".to_owned()));
    }
    let mut found = Vec::new();
    let mut reader = BinaryReader::new(wasm.get(PREAMBLE_BYTES..).unwrap_or_default(), PREAMBLE_BYTES);
    while !reader.eof() {
        let start = reader.original_position();
        let (id, body) = next_section(&mut reader).map_err(|e| PackError::NotWasm(e.to_string()))?;
        let whole = start..reader.original_position();
        if id == CUSTOM_SECTION_ID {
            let mut body = BinaryReader::new(body, whole.end.saturating_sub(body.len()));
            let name = body.read_string().map_err(|e| PackError::NotWasm(e.to_string()))?;
            if name == MANIFEST_SECTION {
                found.push(ManifestSection { text: body.original_position()..whole.end, whole });
            }
        }
    }
    Ok(found)
}

fn next_section<'a>(reader: &mut BinaryReader<'a>) -> wasmparser::Result<(u8, &'a [u8])> {
    let id = reader.read_u8()?;
    let bytes = reader.read_var_u32()?;
    let body = reader.read_bytes(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    Ok((id, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn manifest(name: &str) -> Manifest {
        Manifest::parse(&format!("name = {name:?}\nversion = \"0.1.0\"\ntask_types = [\"{name}\"]")).expect("valid")
    }

    fn section(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![CUSTOM_SECTION_ID];
        CustomSection { name: name.into(), data: data.into() }.encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_packed_is_unpacked_from_both_kinds() {
        for plain in [CORE, COMPONENT] {
            assert_eq!(unpack(plain), Ok(None));
            let packed = pack(plain, &manifest("echo")).expect("packs");
            assert_eq!(unpack(&packed), Ok(Some(manifest("echo"))));
            assert!(packed.starts_with(plain));
        }
    }

    #[test]
    fn packing_again_replaces_and_leaves_the_rest_alone() {
        let plain = [CORE, &section("name", b"kept"), &section("producers", b"kept too")].concat();
        let first = pack(&plain, &manifest("one")).expect("packs");
        let followed = [first.as_slice(), &section("late", b"after the manifest")].concat();
        let second = pack(&followed, &manifest("two")).expect("packs");
        assert_eq!(unpack(&second), Ok(Some(manifest("two"))));
        let expected = pack(&[plain.as_slice(), &section("late", b"after the manifest")].concat(), &manifest("two"));
        assert_eq!(Ok(second), expected);
    }

    #[test]
    fn two_manifests_are_refused_and_packing_mends_it() {
        let text = manifest("echo").to_toml();
        let twice = [CORE, &section(MANIFEST_SECTION, text.as_bytes()), &section(MANIFEST_SECTION, text.as_bytes())].concat();
        assert_eq!(unpack(&twice), Err(PackError::Twice));
        assert_eq!(unpack(&pack(&twice, &manifest("echo")).expect("packs")), Ok(Some(manifest("echo"))));
    }

    #[test]
    fn corrupt_input_is_refused_at_every_cut_and_never_panics() {
        let packed = pack(COMPONENT, &manifest("echo")).expect("packs");
        assert!(matches!(unpack(b""), Err(PackError::NotWasm(_))));
        assert!(matches!(unpack(b"name = 'toml'"), Err(PackError::NotWasm(_))));
        for cut in COMPONENT.len() + 1..packed.len() {
            assert!(matches!(unpack(&packed[..cut]), Err(PackError::NotWasm(_))), "cut at {cut}");
        }
        let endless = [CORE, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        assert!(matches!(pack(&endless, &manifest("echo")), Err(PackError::NotWasm(_))));
    }

    #[test]
    fn a_section_that_is_no_manifest_says_why() {
        let not_text = [CORE, &section(MANIFEST_SECTION, &[0xff, 0xfe])].concat();
        assert!(unpack(&not_text).is_err_and(|e| e.to_string().contains("UTF-8")));
        let no_name = [CORE, &section(MANIFEST_SECTION, b"version = '1.0.0'")].concat();
        assert!(unpack(&no_name).is_err_and(|e| e.to_string().contains("name")));
        let huge = [CORE, &section(MANIFEST_SECTION, &vec![b'#'; MANIFEST_BYTES_MAX + 1])].concat();
        assert!(matches!(unpack(&huge), Err(PackError::TooLong { .. })));
    }
}
