//! Compiled code, kept between starts.
//!
//! Loading compiled code means trusting it as much as the host's own, so a file is only loaded when it carries a message
//! authentication code under a key that only this host has. A file that somebody planted, changed, or copied from another host
//! or another name is as good as absent: the artifact is compiled again.

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The folder's size is kept below this by removing what was written first.
const CACHE_BYTES_MAX: u64 = 2 << 30;

/// One block of the hash, so that it is used as it is.
const KEY_BYTES: usize = 64;
const MAC_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const EXTENSION: &str = "cwasm";

type HmacSha256 = Hmac<Sha256>;

/// A folder of compiled code.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
}

impl Cache {
    /// Opens the folder, which is made if need be and closed to other users.
    ///
    /// # Errors
    /// When it cannot be made or closed.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let key = key(folder)?;
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The code made from the artifact with this digest by an engine like this one, if it is there and genuine.
    pub(super) fn load(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
        let name = name(engine, digest);
        let path = self.path(&name);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "compiled code could not be read from the cache; compiling again");
                return None;
            }
        };
        let component =
            file.split_first_chunk::<MAC_BYTES>().filter(|(mac, code)| self.is_genuine(&name, mac, code)).and_then(|(_, code)| {
                // SAFETY: the code was serialised by this host from an engine of this kind: the authentication code just checked
                // covers the bytes and the name, which holds the artifact's digest and the engine's compatibility hash.
                #[expect(unsafe_code, reason = "loading compiled code trusts it; what makes it trustworthy is checked right above")]
                unsafe { Component::deserialize(engine, code) }.ok()
            });
        if component.is_none() {
            tracing::warn!("a file in the cache of compiled code is not what this host wrote; compiling again");
        }
        component
    }

    /// Keeps code. A cache that cannot be written costs time, nothing else, so it is only said.
    pub(super) fn store(&self, engine: &Engine, digest: &[u8; 32], component: &Component) {
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| self.write(&name(engine, digest), &code));
        if let Err(error) = kept.and_then(|()| self.shrink(CACHE_BYTES_MAX)) {
            tracing::warn!(%error, "compiled code could not be kept in the cache");
        }
    }

    fn path(&self, name: &[u8; 32]) -> PathBuf {
        self.folder.join(hex::encode(name)).with_extension(EXTENSION)
    }

    fn write(&self, name: &[u8; 32], code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(&self.folder)?;
        file.write_all(&self.mac(name, code).finalize().into_bytes())?;
        file.write_all(code)?;
        // Never half a file under the final name: written aside and moved there whole.
        file.persist(self.path(name)).map_err(|error| error.error)?;
        Ok(())
    }

    fn mac(&self, name: &[u8; 32], code: &[u8]) -> HmacSha256 {
        let mut mac = HmacSha256::new(&self.key.into());
        mac.update(name);
        mac.update(code);
        mac
    }

    fn is_genuine(&self, name: &[u8; 32], mac: &[u8; MAC_BYTES], code: &[u8]) -> bool {
        self.mac(name, code).verify_slice(mac).is_ok()
    }

    /// Removes the oldest files until the rest fits.
    fn shrink(&self, bytes_max: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == EXTENSION) {
                let about = entry.metadata()?;
                files.push((about.modified()?, about.len(), entry.path()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if bytes <= bytes_max {
                break;
            }
            fs::remove_file(path)?;
            bytes -= size;
        }
        Ok(())
    }
}

/// Names a file: by the artifact, and by everything of the engine that its code depends on.
fn name(engine: &Engine, digest: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha(Sha256::new());
    hasher.0.update(digest);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}

/// Takes what is hashed to SHA-256, which gives the same answer on every start.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// This host's key: read, or made at the first start.
fn key(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join(KEY_FILE);
    let mut key = [0; KEY_BYTES];
    match fs::File::open(&path) {
        Ok(mut file) => {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.read_exact(&mut key)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rand::rng().fill_bytes(&mut key);
            // Made aside and moved, so that two hosts starting at once agree on whose it is: the first link wins.
            let aside = tempfile::Builder::new().prefix("new-").tempfile_in(folder)?;
            OpenOptions::new().write(true).mode(0o600).open(aside.path())?.write_all(&key)?;
            match aside.persist_noclobber(&path) {
                Ok(_) => {}
                Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => fs::File::open(&path)?.read_exact(&mut key)?,
                Err(failed) => return Err(failed.error),
            }
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine_and_component() -> (Engine, Component) {
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str("(component)").expect("good text")).expect("good component");
        (engine, component)
    }

    #[test]
    fn code_is_found_again_and_nothing_planted_is_trusted() {
        let folder = tempfile::tempdir().expect("a folder");
        let (engine, component) = engine_and_component();
        let cache = Cache::open(folder.path()).expect("open");
        assert!(cache.load(&engine, &[1; 32]).is_none());
        cache.store(&engine, &[1; 32], &component);
        let reopened = Cache::open(folder.path()).expect("open");
        assert!(reopened.load(&engine, &[1; 32]).is_some());

        // Genuine, but under another artifact's name.
        let path = cache.path(&name(&engine, &[1; 32]));
        fs::copy(&path, cache.path(&name(&engine, &[2; 32]))).expect("copy");
        assert!(cache.load(&engine, &[2; 32]).is_none());

        // One bit changed, anywhere; cut short; another host's key.
        let good = fs::read(&path).expect("read");
        for at in [0, MAC_BYTES, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).expect("write");
            assert!(cache.load(&engine, &[1; 32]).is_none(), "byte {at}");
        }
        fs::write(&path, &good[..MAC_BYTES - 1]).expect("write");
        assert!(cache.load(&engine, &[1; 32]).is_none());
        fs::write(&path, &good).expect("write");
        fs::write(folder.path().join(KEY_FILE), [9; KEY_BYTES]).expect("write");
        assert!(Cache::open(folder.path()).expect("open").load(&engine, &[1; 32]).is_none());
    }

    #[test]
    fn the_folder_and_the_key_are_closed_to_others_and_the_size_is_bounded() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("code");
        let (engine, component) = engine_and_component();
        let cache = Cache::open(&folder).expect("open");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(KEY_FILE))), (0o700, 0o600));
        for n in 0..3 {
            cache.store(&engine, &[n; 32], &component);
        }
        let size = fs::metadata(cache.path(&name(&engine, &[0; 32]))).expect("there").len();
        cache.shrink(size * 2).expect("shrink");
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 3, "two files and the key");
    }
}
