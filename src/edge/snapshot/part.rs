//! One partition of a snapshot as a file: zstd around length-prefixed records, with the BLAKE3 hash of the file's own bytes beside it.
//!
//! A record is its kind (one byte), its length (four, little endian) and its bytes; an entity's begin with its key. The last one
//! counts the entities, so that a file that breaks off is not taken for a whole one even where nobody compares hashes.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::core::types::EntityKey;
use crate::error::{Error, Result};
use crate::limits::STATE_VALUE_BYTES_MAX;

const MAGIC: &[u8; 8] = b"tgstate1";
const VALUE: u8 = 0;
const ENTITY: u8 = 1;
const END: u8 = 2;
/// The state of a partition as a whole; the correlation's holds all its entities.
const PARTITION_VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Fast, and half the size already: states are squeezed before.
const ZSTD_LEVEL: i32 = 3;

struct Hashing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Writes one. Nothing is durable before [`PartWriter::finish`].
pub struct PartWriter {
    out: zstd::stream::write::Encoder<'static, Hashing>,
    shown: String,
    entities: u64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub blake3: String,
    pub bytes: u64,
    pub records: u64,
}

impl PartWriter {
    /// # Errors
    /// `Permanent`: it cannot be written there.
    pub fn create(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let begin = || {
            let file = BufWriter::with_capacity(1 << 18, File::create_new(path)?);
            let mut out = zstd::stream::write::Encoder::new(Hashing { file, hasher: blake3::Hasher::new(), bytes: 0 }, ZSTD_LEVEL)?;
            out.write_all(MAGIC)?;
            Ok(out)
        };
        let out = begin().map_err(|error| failed(&shown, error))?;
        Ok(Self { out, shown, entities: 0 })
    }

    /// # Errors
    /// `Permanent`: the disk takes no more.
    pub fn entity(&mut self, key: EntityKey, value: &[u8]) -> Result<()> {
        self.entities += 1;
        record(&mut self.out, ENTITY, &[&key.0.to_be_bytes(), value]).map_err(|error| failed(&self.shown, error))
    }

    /// Ends it with the state of the partition as a whole.
    ///
    /// # Errors
    /// `Permanent`: the disk takes no more.
    pub fn finish(mut self, value: &[u8]) -> Result<Written> {
        let Self { out, shown, entities } = &mut self;
        let ended = record(out, VALUE, &[value]).and_then(|()| record(out, END, &[&entities.to_le_bytes()]));
        ended.map_err(|error| failed(shown, error))?;
        let (shown, records) = (self.shown, self.entities);
        let whole = self.out.finish().and_then(|mut hashing| {
            hashing.flush()?;
            hashing.file.get_ref().sync_all()?;
            Ok(Written { blake3: hashing.hasher.finalize().to_hex().to_string(), bytes: hashing.bytes, records })
        });
        whole.map_err(|error| failed(&shown, error))
    }
}

fn record(out: &mut impl Write, kind: u8, pieces: &[&[u8]]) -> std::io::Result<()> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let length = u32::try_from(length).map_err(|_| std::io::Error::other("a value is too large"))?;
    out.write_all(&[kind])?;
    out.write_all(&length.to_le_bytes())?;
    pieces.iter().try_for_each(|piece| out.write_all(piece))
}

fn failed(shown: &str, error: std::io::Error) -> Error {
    let what = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "the disk is full; free some space or choose another place",
        _ => "it cannot be written",
    };
    Error::permanent(format!("{shown}: {what}")).because(error)
}

/// Compares a file with its hash.
///
/// # Errors
/// `Permanent`: it is another file than the one that was written.
pub fn check(path: &Path, blake3: &str) -> Result<()> {
    let shown = path.display();
    let unreadable = |error| Error::permanent(format!("{shown} cannot be read")).because(error);
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 18]);
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    if hasher.finalize().to_hex().as_str() == blake3 {
        return Ok(());
    }
    Err(Error::permanent(format!("{shown} is damaged: its hash is not the manifest's; use another snapshot")))
}

/// What a file says, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Entity(EntityKey, Vec<u8>),
    /// Last: the state of the partition as a whole.
    Value(Vec<u8>),
}

/// Reads one that was [`check`]ed.
pub struct PartReader {
    input: zstd::stream::read::Decoder<'static, BufReader<File>>,
    shown: String,
    entities: u64,
}

impl PartReader {
    /// # Errors
    /// `Permanent`: it is no such file.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let begin = || {
            let mut input = zstd::stream::read::Decoder::new(File::open(path)?)?;
            let mut magic = [0; MAGIC.len()];
            input.read_exact(&mut magic)?;
            if magic == *MAGIC { Ok(input) } else { Err(std::io::Error::other("it begins with something else")) }
        };
        match begin() {
            Ok(input) => Ok(Self { input, shown, entities: 0 }),
            Err(error) => Err(Error::permanent(format!("{shown} is no state of a snapshot")).because(error)),
        }
    }

    /// `None` at the end.
    ///
    /// # Errors
    /// `Permanent`: it is damaged.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        let item = self.read();
        item.map_err(|error| Error::permanent(format!("{} is damaged; use another snapshot", self.shown)).because(error))
    }

    fn read(&mut self) -> std::io::Result<Option<Item>> {
        let damaged = std::io::Error::other;
        let (mut kind, mut length) = ([0], [0; 4]);
        self.input.read_exact(&mut kind)?;
        self.input.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        let bound = match kind[0] {
            VALUE => PARTITION_VALUE_BYTES_MAX,
            ENTITY => 16 + STATE_VALUE_BYTES_MAX,
            END => 8,
            _ => return Err(damaged("a record of an unknown kind")),
        };
        if length > bound {
            return Err(damaged("a record that is too long"));
        }
        let mut bytes = vec![];
        if (&mut self.input).take(length as u64).read_to_end(&mut bytes)? < length {
            return Err(damaged("it breaks off"));
        }
        match kind[0] {
            VALUE => Ok(Some(Item::Value(bytes))),
            ENTITY => {
                let (key, value) = bytes.split_first_chunk::<16>().ok_or_else(|| damaged("an entity without a key"))?;
                self.entities += 1;
                Ok(Some(Item::Entity(EntityKey(u128::from_be_bytes(*key)), value.to_vec())))
            }
            _ if bytes == self.entities.to_le_bytes() => Ok(None),
            _ => Err(damaged("entities are missing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(path: &Path) -> Result<Vec<Item>> {
        let mut reader = PartReader::open(path)?;
        std::iter::from_fn(|| reader.next_item().transpose()).collect()
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let mut writer = PartWriter::create(&path).unwrap();
        for number in 0..5_000_u128 {
            writer.entity(EntityKey(number << 100), &vec![number as u8; number as usize % 700]).unwrap();
        }
        let written = writer.finish(b"whole").unwrap();
        assert_eq!((written.records, written.bytes), (5_000, path.metadata().unwrap().len()));
        check(&path, &written.blake3).unwrap();
        let items = items(&path).unwrap();
        assert_eq!((items.len(), &items[5_000]), (5_001, &Item::Value(b"whole".to_vec())));
        assert_eq!(items[1_700], Item::Entity(EntityKey(1_700 << 100), vec![164; 300]));
        assert!(PartWriter::create(&path).is_err(), "never over another");

        let whole = std::fs::read(&path).unwrap();
        let damage = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            assert!(check(&path, &written.blake3).unwrap_err().to_string().contains("damaged"));
        };
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        damage(&flipped);
        damage(&whole[..whole.len() - 1]);
        assert!(self::items(&path).is_err(), "a file that breaks off is found without its hash");
        damage(b"");
        assert!(self::items(&path).is_err());
    }
}
