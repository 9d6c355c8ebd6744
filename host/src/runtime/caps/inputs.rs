//! `inputs`: named byte streams that came with the task, bounded by `input_bytes` together with the payload.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::runtime::bindings;
use crate::runtime::guest::Guest;
use crate::runtime::meter::Meter;
use crate::runtime::ports::InputPort;
use crate::runtime::read_ahead::{ReadAhead, ReadAheadRoom};

/// What a guest's handle stands for.
#[expect(unreachable_pub, reason = "the generated bindings re-export it as public")]
pub struct Reader(ReadAhead);

/// What the guest's calls work on.
pub(in crate::runtime) struct InputsHost<'a> {
    pub(in crate::runtime) port: &'a Arc<dyn InputPort>,
    pub(in crate::runtime) room: &'a ReadAheadRoom,
    pub(in crate::runtime) table: &'a mut ResourceTable,
    pub(in crate::runtime) meter: &'a mut Meter,
}

impl bindings::inputs::Host for InputsHost<'_> {
    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        let names = self.port.names();
        self.meter.call(names.iter().map(String::len).sum())?;
        Ok(names)
    }

    async fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Reader>, String>> {
        self.meter.call(name.len())?;
        match self.port.open(&name).await {
            Ok(stream) => Ok(Ok(self.table.push(Reader(ReadAhead::new(stream, self.room)))?)),
            Err(why) => Ok(Err(why)),
        }
    }
}

impl bindings::inputs::HostReader for InputsHost<'_> {
    fn size(&mut self, reader: Resource<Reader>) -> wasmtime::Result<Option<u64>> {
        self.meter.call(0)?;
        Ok(self.table.get(&reader)?.0.size_bytes())
    }

    async fn read(&mut self, reader: Resource<Reader>, max_bytes: u32) -> wasmtime::Result<Result<Vec<u8>, String>> {
        self.meter.call(0)?;
        let stream = &mut self.table.get_mut(&reader)?.0;
        match stream.read(max_bytes).await {
            Ok(bytes) => {
                self.meter.take_input(bytes.len())?;
                Ok(Ok(bytes.into()))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    fn drop(&mut self, reader: Resource<Reader>) -> wasmtime::Result<()> {
        self.table.delete(reader)?;
        Ok(())
    }
}

struct HasInputs;

impl HasData for HasInputs {
    type Data<'a> = InputsHost<'a>;
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::inputs::add_to_linker::<_, HasInputs>(linker, |guest| InputsHost {
        port: &guest.ports.inputs,
        room: &guest.read_ahead_room,
        table: &mut guest.table,
        meter: &mut guest.meter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Limit, LimitSet, Limits};
    use crate::runtime::meter::Stop;
    use crate::runtime::ports::MemoryInputs;
    use bindings::inputs::{Host as _, HostReader as _};
    use bytes::Bytes;

    #[tokio::test]
    async fn reads_to_the_end_and_counts_what_was_read() {
        let limits = Limits::defaults().overridden_by(&LimitSet::default().with(Limit::InputBytes, 12));
        let port: Arc<dyn InputPort> = Arc::new(MemoryInputs::from([("series".to_owned(), Bytes::from_static(b"0123456789"))]));
        let (mut table, mut meter) = (ResourceTable::new(), Meter::new(limits, 0));
        let room = ReadAheadRoom::default();
        let mut host = InputsHost { port: &port, room: &room, table: &mut table, meter: &mut meter };
        assert!(host.open("other".to_owned()).await.expect("no trap").is_err_and(|why| why.contains("series")));
        let reader = host.open("series".to_owned()).await.expect("no trap").expect("there");
        let borrow = || Resource::new_borrow(reader.rep());
        assert_eq!(host.size(borrow()).expect("no trap"), Some(10));
        assert_eq!(host.read(borrow(), 4).await.expect("no trap").expect("good"), b"0123");
        assert_eq!(host.read(borrow(), u32::MAX).await.expect("no trap").expect("good"), b"456789");
        assert!(host.read(borrow(), 4).await.expect("no trap").expect("good").is_empty());
        let again = host.open("series".to_owned()).await.expect("no trap").expect("there");
        let stop = host.read(again, 4).await.expect_err("14 bytes").downcast::<Stop>().expect("a stop");
        assert!(stop.message.contains("input_bytes allows 12"), "{}", stop.message);
    }
}
