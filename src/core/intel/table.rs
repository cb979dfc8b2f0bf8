//! Compact read-only tables: exact keys, address ranges and domain names, each entry with a 16-bit tag.
//!
//! Built once, then only read. A table never answers from a hash alone: a hit has compared the whole key, so nobody can choose a
//! name or an address that is taken for a listed one. Iteration order and answers do not depend on a hash seed.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

/// List and confidence of an entry in 16 bits: `list * 101 + percent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u16);

/// A range that no list covers.
const NO_TAG: Tag = Tag(u16::MAX);
/// Confidence is kept in whole percent.
const CONFIDENCE_STEPS: u16 = 101;

const _: () = assert!((crate::limits::INTEL_LISTS_MAX as u64) * (CONFIDENCE_STEPS as u64) < u16::MAX as u64);

impl Tag {
    /// `confidence` in `0.0 ..= 1.0`; anything else is clamped, NaN is 0.
    pub(super) fn new(list: u16, confidence: f32) -> Self {
        let percent = (confidence.clamp(0.0, 1.0) * 100.0 + 0.5) as u16;
        Self(list * CONFIDENCE_STEPS + percent)
    }
    pub(super) fn list(self) -> u16 {
        self.0 / CONFIDENCE_STEPS
    }
    fn percent(self) -> u16 {
        self.0 % CONFIDENCE_STEPS
    }
    pub(super) fn confidence(self) -> f32 {
        f32::from(self.percent()) / 100.0
    }
    /// Of two entries for the same key, the more confident one counts; of equals, that of the first list.
    fn best(self, other: Self) -> Self {
        if (other.percent(), self.list()) > (self.percent(), other.list()) { other } else { self }
    }
}

/// An unsigned integer that tables are keyed by.
pub(super) trait Key: Copy + Ord {
    const BITS: u32;
    /// A bijection that spreads clustered keys evenly over the top bits.
    fn spread(self) -> Self;
    /// The highest `bits` bits, `1 <= bits < 32`.
    fn top(self, bits: u32) -> usize;
    fn next(self) -> Option<Self>;
}

impl Key for u32 {
    const BITS: u32 = 32;
    fn spread(self) -> Self {
        self.wrapping_mul(0x9E37_79B1)
    }
    fn top(self, bits: u32) -> usize {
        (self >> (32 - bits)) as usize
    }
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    const BITS: u32 = 128;
    fn spread(self) -> Self {
        // The low half carries into the high half, so the top bits depend on every bit of the key.
        self.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
    fn top(self, bits: u32) -> usize {
        (self >> (128 - bits)) as usize
    }
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// `starts[b] .. starts[b + 1]` are the sorted keys whose top `bits` bits are `b`.
struct Buckets {
    bits: u32,
    starts: Vec<u32>,
}

impl Buckets {
    /// About four keys a bucket; at most 16 MiB of index.
    fn new<K: Key>(keys: &[K]) -> Self {
        let bits = (keys.len() / 4).max(1).ilog2().clamp(4, 22).min(K::BITS - 1);
        let mut starts = vec![0u32; (1 << bits) + 1];
        for key in keys {
            starts[key.top(bits) + 1] += 1;
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        Self { bits, starts }
    }
    fn range<K: Key>(&self, key: K) -> (usize, usize) {
        let bucket = key.top(self.bits);
        (self.starts[bucket] as usize, self.starts[bucket + 1] as usize)
    }
    fn bytes(&self) -> usize {
        self.starts.len() * size_of::<u32>()
    }
}

/// Exact keys. A look-up reads one index line, one key line and, on a hit, one tag.
pub(super) struct Exact<K> {
    buckets: Buckets,
    /// Spread and sorted.
    keys: Vec<K>,
    tags: Vec<Tag>,
}

impl<K: Key> Exact<K> {
    pub(super) fn new(mut entries: Vec<(K, Tag)>) -> Self {
        for (key, _) in &mut entries {
            *key = key.spread();
        }
        entries.sort_unstable_by_key(|(key, tag)| (*key, tag.0));
        entries.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.best(next.1);
            }
            same
        });
        let keys: Vec<K> = entries.iter().map(|(key, _)| *key).collect();
        let tags = entries.iter().map(|(_, tag)| *tag).collect();
        Self { buckets: Buckets::new(&keys), keys, tags }
    }
    pub(super) fn get(&self, key: K) -> Option<Tag> {
        let key = key.spread();
        let (from, to) = self.buckets.range(key);
        let place = self.keys[from..to].iter().position(|listed| *listed >= key)? + from;
        (self.keys[place] == key).then(|| self.tags[place])
    }
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
    pub(super) fn bytes(&self) -> usize {
        self.buckets.bytes() + self.keys.len() * (size_of::<K>() + size_of::<Tag>())
    }
}

/// Networks, flattened into disjoint ranges that carry the tag of the longest prefix.
pub(super) struct Ranges<K> {
    buckets: Buckets,
    starts: Vec<K>,
    tags: Vec<Tag>,
    networks: usize,
}

impl<K: Key> Ranges<K> {
    /// `networks`: first and last address of each. Any two either nest or do not meet, as prefixes do.
    pub(super) fn new(mut networks: Vec<(K, K, Tag)>) -> Self {
        networks.sort_unstable_by(|a, b| (a.0, b.1, a.2.0).cmp(&(b.0, a.1, b.2.0)));
        networks.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 = kept.2.best(next.2);
            }
            same
        });
        let (starts, tags): (Vec<K>, Vec<Tag>) = flatten(&networks).into_iter().unzip();
        Self { buckets: Buckets::new(&starts), starts, tags, networks: networks.len() }
    }
    pub(super) fn get(&self, key: K) -> Option<Tag> {
        let (from, to) = self.buckets.range(key);
        let place = from + self.starts[from..to].partition_point(|start| *start <= key);
        let tag = self.tags[place.checked_sub(1)?];
        (tag != NO_TAG).then_some(tag)
    }
    pub(super) fn len(&self) -> usize {
        self.networks
    }
    pub(super) fn bytes(&self) -> usize {
        self.buckets.bytes() + self.starts.len() * (size_of::<K>() + size_of::<Tag>())
    }
}

/// Sweeps over networks sorted by first address, the widest first; the stack holds those that are open.
fn flatten<K: Key>(networks: &[(K, K, Tag)]) -> Vec<(K, Tag)> {
    fn emit<K: Key>(ranges: &mut Vec<(K, Tag)>, start: K, tag: Tag) {
        ranges.pop_if(|last| last.0 == start);
        if ranges.last().map_or(NO_TAG, |last| last.1) != tag {
            ranges.push((start, tag));
        }
    }
    let mut ranges = Vec::new();
    let mut open: Vec<(K, Tag)> = Vec::new();
    for (first, last, tag) in networks {
        while let Some((ended, _)) = open.pop_if(|(end, _)| *end < *first) {
            let after = ended.next().expect("an address ended before another began");
            emit(&mut ranges, after, open.last().map_or(NO_TAG, |outer| outer.1));
        }
        emit(&mut ranges, *first, *tag);
        open.push((*last, *tag));
    }
    while let Some((ended, _)) = open.pop() {
        if let Some(after) = ended.next() {
            emit(&mut ranges, after, open.last().map_or(NO_TAG, |outer| outer.1));
        }
    }
    ranges
}

/// Domain names, lower case, without a trailing dot. A name stands in the arena as length, tag (2 bytes), text.
pub(super) struct Domains {
    arena: Vec<u8>,
    places: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    longest: usize,
}

/// Longest name that the domain name system knows, in bytes of text.
pub(super) const DOMAIN_BYTES_MAX: usize = 253;

/// Collects names before the table is made.
#[derive(Default)]
pub(super) struct DomainsBuilder {
    arena: Vec<u8>,
    count: usize,
}

impl DomainsBuilder {
    /// False when the arena is full (4 GiB) and the name was not taken.
    pub(super) fn add(&mut self, name: &str, tag: Tag) -> bool {
        let Ok(length) = u8::try_from(name.len()) else { return false };
        if self.arena.len() + 3 + name.len() > u32::MAX as usize {
            return false;
        }
        self.arena.push(length);
        self.arena.extend_from_slice(&tag.0.to_le_bytes());
        self.arena.extend_from_slice(name.as_bytes());
        self.count += 1;
        true
    }

    pub(super) fn build(self) -> Domains {
        // The seed follows from the names, so a hostile list cannot be made to collide under a seed known beforehand.
        let digest = blake3::hash(&self.arena);
        let seed = u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("a digest has 32 bytes"));
        let hasher = foldhash::fast::FixedState::with_seed(seed);
        let mut arena = self.arena;
        let mut places: HashTable<u32> = HashTable::with_capacity(self.count);
        let mut longest = 0;
        let mut at = 0;
        while at < arena.len() {
            let (tag, name) = entry(&arena, at as u32);
            longest = longest.max(name.len());
            let next = at + 3 + name.len();
            let hash = hash_of(&hasher, name);
            match places.find(hash, |place| entry(&arena, *place).1 == name).copied() {
                Some(place) => {
                    let best = entry(&arena, place).0.best(tag);
                    arena[place as usize + 1..place as usize + 3].copy_from_slice(&best.0.to_le_bytes());
                }
                None => {
                    places.insert_unique(hash, at as u32, |place| hash_of(&hasher, entry(&arena, *place).1));
                }
            }
            at = next;
        }
        Domains { arena, places, hasher, longest }
    }
}

fn entry(arena: &[u8], place: u32) -> (Tag, &[u8]) {
    let place = place as usize;
    let length = usize::from(arena[place]);
    (Tag(u16::from_le_bytes([arena[place + 1], arena[place + 2]])), &arena[place + 3..place + 3 + length])
}

fn hash_of(hasher: &foldhash::fast::FixedState, name: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(name);
    state.finish()
}

impl Domains {
    /// The entry for the name or else for its closest listed parent, and whether it was the name itself.
    pub(super) fn get(&self, name: &str) -> Option<(Tag, bool)> {
        let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
        if self.places.is_empty() || name.is_empty() || name.len() > DOMAIN_BYTES_MAX {
            return None;
        }
        if !name.iter().any(u8::is_ascii_uppercase) {
            return self.closest(name);
        }
        let mut folded = [0; DOMAIN_BYTES_MAX];
        let folded = &mut folded[..name.len()];
        folded.copy_from_slice(name);
        folded.make_ascii_lowercase();
        self.closest(folded)
    }

    fn closest(&self, name: &[u8]) -> Option<(Tag, bool)> {
        let mut from = 0;
        loop {
            let suffix = &name[from..];
            if suffix.len() <= self.longest {
                let hash = hash_of(&self.hasher, suffix);
                if let Some(place) = self.places.find(hash, |place| entry(&self.arena, *place).1 == suffix) {
                    return Some((entry(&self.arena, *place).0, from == 0));
                }
            }
            from += suffix.iter().position(|byte| *byte == b'.')? + 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
    pub(super) fn bytes(&self) -> usize {
        self.arena.len() + self.places.allocation_size()
    }
}
