//! Content codings made and undone, one step at a time: so many bytes in, what comes of them out.
//!
//! A step is the unit of work that is handed to a helper thread. What one step may give is bounded, so that a small
//! body that unpacks without end (Z1) breaks off instead of filling the memory.

use std::io::{self, Write};

use flate2::write::{GzEncoder, MultiGzDecoder};
use headland_cache::Form;

/// What is coded in one step, in bytes: about a millisecond of the slowest coding.
const CODED_STEP_BYTES: usize = 64 << 10;
/// What is undone in one step, in bytes.
const UNDONE_STEP_BYTES: usize = 8 << 10;
/// What one step may give, in bytes: two thousand times what went in is no web page.
const GIVEN_BYTES_MAX: usize = 16 << 20;

/// As NGINX, Varnish and the CDNs set them for answers that are coded while the client waits.
const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 5;
const ZSTD_LEVEL: i32 = 3;
/// Windows of 2^20 bytes: beyond that a coder costs more memory than text gains.
const BROTLI_WINDOW_LOG: u32 = 20;
/// RFC 9659 section 3: the largest window that a decoder on the web has to support, 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// What the codecs hand over at a time, in bytes.
const BUFFER_BYTES: usize = 4 << 10;

/// What a step has given so far.
#[derive(Default)]
struct Given(Vec<u8>);

impl Write for Given {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.0.len() + data.len() > GIVEN_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it unpacks beyond all proportion"));
        }
        self.0.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A coder at work on one body.
pub struct Coder(Kind);

enum Kind {
    Gzip(GzEncoder<Given>),
    Brotli(Box<brotli::CompressorWriter<Given>>),
    Zstd(zstd::stream::write::Encoder<'static, Given>),
    Gunzip(Box<MultiGzDecoder<Given>>),
    Unbrotli(Box<brotli::DecompressorWriter<Given>>),
    Unzstd(zstd::stream::write::Decoder<'static, Given>),
}

impl Coder {
    /// The coder from one form to another; none where one of them is not the identity.
    pub fn new(from: Form, to: Form) -> io::Result<Option<Coder>> {
        let given = Given::default();
        let kind = match (from, to) {
            (Form::Identity, Form::Gzip) => Kind::Gzip(GzEncoder::new(given, flate2::Compression::new(GZIP_LEVEL))),
            (Form::Identity, Form::Brotli) => {
                let writer = brotli::CompressorWriter::new(given, BUFFER_BYTES, BROTLI_QUALITY, BROTLI_WINDOW_LOG);
                Kind::Brotli(Box::new(writer))
            }
            (Form::Identity, Form::Zstd) => Kind::Zstd(zstd::stream::write::Encoder::new(given, ZSTD_LEVEL)?),
            (Form::Gzip, Form::Identity) => Kind::Gunzip(Box::new(MultiGzDecoder::new(given))),
            (Form::Brotli, Form::Identity) => {
                Kind::Unbrotli(Box::new(brotli::DecompressorWriter::new(given, BUFFER_BYTES)))
            }
            (Form::Zstd, Form::Identity) => {
                let mut writer = zstd::stream::write::Decoder::new(given)?;
                writer.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Kind::Unzstd(writer)
            }
            _ => return Ok(None),
        };
        Ok(Some(Coder(kind)))
    }

    /// How much to put into one step, in bytes.
    pub fn step_bytes(&self) -> usize {
        match self.0 {
            Kind::Gzip(_) | Kind::Brotli(_) | Kind::Zstd(_) => CODED_STEP_BYTES,
            Kind::Gunzip(_) | Kind::Unbrotli(_) | Kind::Unzstd(_) => UNDONE_STEP_BYTES,
        }
    }

    /// Takes some bytes; with `flush`, all that can be told of them so far comes out.
    pub fn step(&mut self, data: &[u8], flush: bool) -> io::Result<Vec<u8>> {
        let writer: &mut dyn Write = match &mut self.0 {
            Kind::Gzip(writer) => writer,
            Kind::Brotli(writer) => &mut **writer,
            Kind::Zstd(writer) => writer,
            Kind::Gunzip(writer) => &mut **writer,
            Kind::Unbrotli(writer) => &mut **writer,
            Kind::Unzstd(writer) => writer,
        };
        writer.write_all(data)?;
        if flush {
            writer.flush()?;
        }
        Ok(std::mem::take(&mut self.given().0))
    }

    /// The end of the body. What is undone must have come to its own end: a body that was cut short is an error.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        let cut_short = |_| io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early");
        let given = match self.0 {
            Kind::Gzip(writer) => writer.finish()?,
            Kind::Brotli(writer) => writer.into_inner(),
            Kind::Zstd(writer) => writer.finish()?,
            Kind::Gunzip(writer) => writer.finish()?,
            Kind::Unbrotli(writer) => writer.into_inner().map_err(cut_short)?,
            Kind::Unzstd(writer) => writer.finish()?,
        };
        Ok(given.0)
    }

    fn given(&mut self) -> &mut Given {
        match &mut self.0 {
            Kind::Gzip(writer) => writer.get_mut(),
            Kind::Brotli(writer) => writer.get_mut(),
            Kind::Zstd(writer) => writer.get_mut(),
            Kind::Gunzip(writer) => writer.get_mut(),
            Kind::Unbrotli(writer) => writer.get_mut(),
            Kind::Unzstd(writer) => writer.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const CODED: [Form; 3] = [Form::Gzip, Form::Brotli, Form::Zstd];

    fn run(from: Form, to: Form, data: &[u8], flush: bool) -> io::Result<Vec<u8>> {
        let mut coder = Coder::new(from, to)?.unwrap();
        let mut out = Vec::new();
        for piece in data.chunks(coder.step_bytes()) {
            out.extend(coder.step(piece, flush)?);
        }
        out.extend(coder.finish()?);
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_coded_and_undone_is_the_same(
            words in proptest::collection::vec("[a-z]{1,8} ?", 0..4000), flush: bool
        ) {
            let text = words.concat().into_bytes();
            for form in CODED {
                let coded = run(Form::Identity, form, &text, flush).unwrap();
                prop_assert_eq!(&run(form, Form::Identity, &coded, false).unwrap(), &text);
            }
        }

        #[test]
        fn whatever_is_undone_ends_in_bytes_or_an_error(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
            for form in CODED {
                let _ = run(form, Form::Identity, &data, false);
            }
        }
    }

    #[test]
    fn what_was_cut_short_is_an_error() {
        let text = b"a text that is a little longer than nothing".repeat(50);
        for form in CODED {
            let coded = run(Form::Identity, form, &text, false).unwrap();
            for length in [0, 1, coded.len() / 2, coded.len() - 1] {
                assert!(run(form, Form::Identity, &coded[..length], false).is_err(), "{form:?} {length}");
            }
        }
    }

    #[test]
    fn a_flush_gives_all_that_was_taken() {
        for form in CODED {
            let mut coder = Coder::new(Form::Identity, form).unwrap().unwrap();
            let first = coder.step(b"hello, world; hello, world", true).unwrap();
            let mut undo = Coder::new(form, Form::Identity).unwrap().unwrap();
            assert_eq!(undo.step(&first, true).unwrap(), b"hello, world; hello, world", "{form:?}");
        }
    }

    #[test]
    fn what_unpacks_beyond_all_proportion_breaks_off() {
        let zeros = vec![0; 256 << 20];
        for form in [Form::Brotli, Form::Zstd] {
            let coded = run(Form::Identity, form, &zeros, false).unwrap();
            assert!(run(form, Form::Identity, &coded, false).is_err(), "{form:?}: {} bytes", coded.len());
        }
    }

    #[test]
    fn there_is_no_way_from_one_coding_to_another() {
        assert!(Coder::new(Form::Gzip, Form::Brotli).unwrap().is_none());
        assert!(Coder::new(Form::Identity, Form::Identity).unwrap().is_none());
    }
}
