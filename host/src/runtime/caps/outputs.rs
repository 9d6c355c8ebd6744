//! `outputs`: named byte streams that the task leaves behind, bounded by `output_bytes` together with the result.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::runtime::bindings;
use crate::runtime::guest::Guest;
use crate::runtime::meter::{Meter, shorten};
use crate::task::Output;

/// Outputs that one task may create.
const OUTPUTS_MAX: usize = 256;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 128;

/// Bytes of a media type.
const MEDIA_TYPE_BYTES_MAX: usize = 128;

/// What a guest's handle stands for: the output's position in [`OutputShelf`].
#[expect(unreachable_pub, reason = "the generated bindings re-export it as public")]
pub struct Writer(usize);

/// The outputs of one run.
#[derive(Default)]
pub(in crate::runtime) struct OutputShelf(Vec<Draft>);

/// What is written at once up to this size goes into one piece with what is written next; a larger piece is kept as it came.
const PIECE_BYTES: usize = 64 << 10;

/// In pieces: one long vector would be copied whenever it grows, and memory that was never used before is the dearest there is.
struct Draft {
    name: String,
    media_type: String,
    pieces: Vec<Vec<u8>>,
}

impl Draft {
    fn write(&mut self, bytes: Vec<u8>) {
        if bytes.len() >= PIECE_BYTES {
            self.pieces.push(bytes);
            return;
        }
        match self.pieces.last_mut().filter(|last| last.capacity() - last.len() >= bytes.len()) {
            Some(last) => last.extend_from_slice(&bytes),
            None => {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                piece.extend_from_slice(&bytes);
                self.pieces.push(piece);
            }
        }
    }

    fn into_output(self) -> Output {
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, self.pieces.iter().map(Vec::len).sum()).collect();
        let mut rest = Arc::get_mut(&mut bytes).unwrap_or_default();
        // Each piece is given back before the next is copied.
        for piece in self.pieces {
            let Some((place, after)) = rest.split_at_mut_checked(piece.len()) else { break };
            place.copy_from_slice(&piece);
            rest = after;
        }
        Output { name: self.name, media_type: self.media_type, bytes }
    }
}

impl OutputShelf {
    /// Everything that was written.
    pub(in crate::runtime) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.0).into_iter().map(Draft::into_output).collect()
    }

    fn create(&mut self, name: String, media_type: String) -> Result<Writer, String> {
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        {
            return Err(format!("{:?} cannot name an output: use 1 to 128 of A-Z a-z 0-9 . _ -", shorten(&name, NAME_BYTES_MAX)));
        }
        if media_type.is_empty() || media_type.len() > MEDIA_TYPE_BYTES_MAX || !media_type.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err("the media type must be 1 to 128 printable ASCII characters, such as text/csv".to_owned());
        }
        if self.0.iter().any(|draft| draft.name == name) {
            return Err(format!("there is an output {name:?} already; names are unique within a task"));
        }
        if self.0.len() >= OUTPUTS_MAX {
            return Err(format!("a task may create {OUTPUTS_MAX} outputs; write more into each"));
        }
        self.0.push(Draft { name, media_type, pieces: Vec::new() });
        Ok(Writer(self.0.len() - 1))
    }
}

/// What the guest's calls work on.
pub(in crate::runtime) struct OutputsHost<'a> {
    pub(in crate::runtime) shelf: &'a mut OutputShelf,
    pub(in crate::runtime) table: &'a mut ResourceTable,
    pub(in crate::runtime) meter: &'a mut Meter,
}

impl bindings::outputs::Host for OutputsHost<'_> {
    fn create(&mut self, name: String, media_type: String) -> wasmtime::Result<Result<Resource<Writer>, String>> {
        self.meter.call(name.len() + media_type.len())?;
        match self.shelf.create(name, media_type) {
            Ok(writer) => Ok(Ok(self.table.push(writer)?)),
            Err(why) => Ok(Err(why)),
        }
    }
}

impl bindings::outputs::HostWriter for OutputsHost<'_> {
    fn write(&mut self, writer: Resource<Writer>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        self.meter.call(bytes.len())?;
        self.meter.put_output(bytes.len())?;
        let Writer(index) = self.table.get(&writer)?;
        let draft = self.shelf.0.get_mut(*index).ok_or_else(|| wasmtime::Error::msg("a writer without an output"))?;
        draft.write(bytes);
        Ok(Ok(()))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

struct HasOutputs;

impl HasData for HasOutputs {
    type Data<'a> = OutputsHost<'a>;
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::outputs::add_to_linker::<_, HasOutputs>(linker, |guest| OutputsHost {
        shelf: &mut guest.outputs,
        table: &mut guest.table,
        meter: &mut guest.meter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Limit, LimitSet, Limits};
    use bindings::outputs::{Host as _, HostWriter as _};

    #[test]
    fn names_are_checked_and_bytes_arrive_in_order() {
        let (mut shelf, mut table, mut meter) = (OutputShelf::default(), ResourceTable::new(), Meter::new(Limits::defaults(), 0));
        let mut host = OutputsHost { shelf: &mut shelf, table: &mut table, meter: &mut meter };
        for bad in ["", "../etc/passwd", "a/b", "ä"] {
            assert!(host.create(bad.to_owned(), "text/plain".to_owned()).expect("no trap").is_err(), "{bad:?}");
        }
        let writer = host.create("report.csv".to_owned(), "text/csv".to_owned()).expect("no trap").expect("good");
        assert!(host.create("report.csv".to_owned(), "text/csv".to_owned()).expect("no trap").is_err());
        for part in [b"a,".to_vec(), b"b".to_vec()] {
            host.write(Resource::new_borrow(writer.rep()), part).expect("no trap").expect("good");
        }
        host.drop(writer).expect("there");
        let outputs = shelf.take();
        assert_eq!((outputs.len(), outputs[0].name.as_str(), &*outputs[0].bytes), (1, "report.csv", &b"a,b"[..]));
        assert_eq!(meter.output_bytes, 3);
    }

    #[test]
    fn pieces_of_every_size_make_one_output() {
        let mut draft = Draft { name: "o".to_owned(), media_type: "m".to_owned(), pieces: Vec::new() };
        let mut expected = Vec::new();
        for (number, size) in [0, 1, PIECE_BYTES - 1, 1, PIECE_BYTES, 3, 2 * PIECE_BYTES + 1, 5, 6].into_iter().enumerate() {
            let piece = vec![u8::try_from(number).expect("few"); size];
            expected.extend_from_slice(&piece);
            draft.write(piece);
        }
        assert_eq!(draft.pieces.len(), 6);
        assert_eq!(*draft.into_output().bytes, *expected);
    }

    #[test]
    fn many_outputs_are_refused_in_words() {
        let limits = Limits::defaults().overridden_by(&LimitSet::default().with(Limit::OutputBytes, 10));
        let (mut shelf, mut table, mut meter) = (OutputShelf::default(), ResourceTable::new(), Meter::new(limits, 0));
        let mut host = OutputsHost { shelf: &mut shelf, table: &mut table, meter: &mut meter };
        let last = (0..=OUTPUTS_MAX).map(|n| host.create(format!("o{n}"), "text/plain".to_owned()).expect("no trap")).last();
        assert!(last.is_some_and(|last| last.is_err_and(|why| why.contains("256"))));
    }
}
