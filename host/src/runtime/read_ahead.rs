//! Reads the next piece of an input on another thread while the guest works on the one before. What the guest gets does not depend on
//! how far that is: pieces are cut by the stream and by what is asked for, never by time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::ports::{InputStream, PortError};

/// Bytes of a piece: what one stream may have read ahead, and one call gives at most. As many as the SDK asks for, so that a piece goes to
/// the guest whole and is copied once.
const PIECE_BYTES_MAX: u32 = 256 << 10;

/// Streams of one run that read ahead. No limit of the guest's covers their pieces, so there are few; others are read when they are asked.
const READ_AHEAD_STREAMS_MAX: usize = 8;

/// How many streams of a run may still begin to read ahead.
#[derive(Clone)]
pub(super) struct ReadAheadRoom(Arc<Semaphore>);

impl Default for ReadAheadRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READ_AHEAD_STREAMS_MAX)))
    }
}

type Stream = Box<dyn InputStream>;

/// A stream, and what has been read of it and not been asked for yet.
pub(super) struct ReadAhead {
    size_bytes: Option<u64>,
    read_bytes: u64,
    rest: Bytes,
    next: Next,
    /// Without it nothing is read before it is asked for. Goes back when the stream goes.
    permit: Option<OwnedSemaphorePermit>,
}

enum Next {
    Unread(Stream),
    Coming(AbortOnDropHandle<(Stream, Result<Bytes, PortError>)>),
    /// The stream was lost with the thread that read it.
    Lost,
}

impl ReadAhead {
    pub(super) fn new(stream: Stream, room: &ReadAheadRoom) -> Self {
        let permit = Arc::clone(&room.0).try_acquire_owned().ok();
        Self { size_bytes: stream.size_bytes(), read_bytes: 0, rest: Bytes::new(), next: Next::Unread(stream), permit }
    }

    pub(super) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// The next bytes, at most `max_bytes` of them; empty at the end.
    ///
    /// # Errors
    /// What the stream says of this piece. The next call tries it again.
    pub(super) async fn read(&mut self, max_bytes: u32) -> Result<Bytes, PortError> {
        if self.rest.is_empty() {
            self.rest = self.piece().await?;
        }
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(self.rest.len());
        Ok(self.rest.split_to(most))
    }

    async fn piece(&mut self) -> Result<Bytes, PortError> {
        let (stream, read) = match std::mem::replace(&mut self.next, Next::Lost) {
            Next::Unread(stream) => piece_of(stream).await,
            Next::Coming(coming) => coming.await.map_err(|_| lost())?,
            Next::Lost => return Err(lost()),
        };
        let read_bytes = read.as_ref().map_or(0, Bytes::len);
        self.read_bytes = self.read_bytes.saturating_add(u64::try_from(read_bytes).unwrap_or(u64::MAX));
        // Small inputs are there with their first piece, and an ended one stays ended: neither is worth a thread.
        let goes_on = read_bytes > 0 && self.size_bytes.is_none_or(|size| self.read_bytes < size);
        self.next = match &self.permit {
            Some(_) if goes_on => Next::Coming(AbortOnDropHandle::new(tokio::spawn(piece_of(stream)))),
            _ => Next::Unread(stream),
        };
        read
    }
}

async fn piece_of(mut stream: Stream) -> (Stream, Result<Bytes, PortError>) {
    let read = stream.read(PIECE_BYTES_MAX).await;
    (stream, read)
}

fn lost() -> PortError {
    "the input cannot be read any more; the host has logged why".to_owned()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// Ten bytes a piece, of which there are so many; the third fails once.
    struct Counting {
        pieces: u8,
        given: u8,
        has_failed: bool,
        size_bytes: Option<u64>,
        asked: Arc<std::sync::atomic::AtomicU32>,
    }

    #[async_trait]
    impl InputStream for Counting {
        fn size_bytes(&self) -> Option<u64> {
            self.size_bytes
        }

        async fn read(&mut self, _max_bytes: u32) -> Result<Bytes, PortError> {
            self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if self.given == 2 && !self.has_failed {
                self.has_failed = true;
                return Err("the disk is away".to_owned());
            }
            if self.given == self.pieces {
                return Ok(Bytes::new());
            }
            self.given += 1;
            Ok(Bytes::from(vec![self.given; 10]))
        }
    }

    fn stream(pieces: u8, size_bytes: Option<u64>) -> (Stream, Arc<std::sync::atomic::AtomicU32>) {
        let asked = Arc::default();
        (Box::new(Counting { pieces, given: 0, has_failed: false, size_bytes, asked: Arc::clone(&asked) }), asked)
    }

    async fn told(reader: &mut ReadAhead, max_bytes: u32, calls: usize) -> Vec<Result<Vec<u8>, PortError>> {
        let mut told = Vec::new();
        for _ in 0..calls {
            told.push(reader.read(max_bytes).await.map(|bytes| bytes.to_vec()));
        }
        told
    }

    #[tokio::test]
    async fn reading_ahead_does_not_show_and_an_error_is_told_where_it_belongs() {
        let without = ReadAheadRoom(Arc::new(Semaphore::new(0)));
        for size_bytes in [None, Some(40)] {
            let mut ahead = ReadAhead::new(stream(4, size_bytes).0, &ReadAheadRoom::default());
            let mut plain = ReadAhead::new(stream(4, size_bytes).0, &without);
            let expected = told(&mut plain, 7, 12).await;
            assert_eq!(told(&mut ahead, 7, 12).await, expected);
            let pieces: Vec<usize> = expected.iter().map(|piece| piece.as_ref().map_or(99, Vec::len)).collect();
            assert_eq!(pieces, [7, 3, 7, 3, 99, 7, 3, 7, 3, 0, 0, 0]);
        }
    }

    #[tokio::test]
    async fn one_piece_is_read_ahead_where_there_is_more_and_room() {
        let asked_after = async |size_bytes, room: &ReadAheadRoom| {
            let (stream, asked) = stream(9, size_bytes);
            let mut reader = ReadAhead::new(stream, room);
            reader.read(1).await.expect("reads");
            // The other task gets every turn it could ask for.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            (asked.load(std::sync::atomic::Ordering::SeqCst), reader)
        };
        let room = ReadAheadRoom::default();
        assert_eq!(asked_after(Some(10), &room).await.0, 1);
        let mut held = Vec::new();
        for _ in 0..READ_AHEAD_STREAMS_MAX {
            let (asked, reader) = asked_after(None, &room).await;
            assert_eq!(asked, 2);
            held.push(reader);
        }
        assert_eq!(asked_after(None, &room).await.0, 1);
        held.pop();
        assert_eq!(asked_after(None, &room).await.0, 2);
    }

    #[tokio::test]
    async fn a_stream_that_panics_is_an_error_and_stays_one() {
        struct Bad(bool);
        #[async_trait]
        impl InputStream for Bad {
            fn size_bytes(&self) -> Option<u64> {
                None
            }
            async fn read(&mut self, _max_bytes: u32) -> Result<Bytes, PortError> {
                assert!(!std::mem::replace(&mut self.0, true), "on purpose");
                Ok(Bytes::from_static(b"x"))
            }
        }
        let mut reader = ReadAhead::new(Box::new(Bad(false)), &ReadAheadRoom::default());
        assert_eq!(told(&mut reader, 1, 3).await, [Ok(b"x".to_vec()), Err(lost()), Err(lost())]);
    }
}
