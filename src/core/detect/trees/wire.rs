//! Boosted trees as bytes: a header, the inputs, then the trees, little-endian. Must never panic on bytes from outside.
//!
//! Reading makes plain trees of the bytes, which are checked like trees from anywhere else.

use super::layout::{Layout, Shape, Span};
use super::sketch::{Condition, Node, Sketch, SymmetricTree};
use super::{Link, Trees};
use crate::error::{Error, Result};
use crate::limits::{TREES_MAX, TREES_NODES_MAX, TREES_SYMMETRIC_DEPTH_MAX};

const MAGIC: [u8; 4] = *b"TGBT";
const FORMAT: u32 = 1;
const ORDINARY: u32 = 0;
const SYMMETRIC: u32 = 1;

impl Trees {
    /// Magic, format, shape, link, width, exponent, base and trees; then each tree: of ordinary ones its nodes, each a condition
    /// with its left child (the right one follows) or a leaf's integer, and a cover; of symmetric ones its levels, leaves, covers.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Layout { spans, shape, exponent, .. } = &self.layout;
        let mut bytes = MAGIC.to_vec();
        let shape_word = if matches!(shape, Shape::Ordinary { .. }) { ORDINARY } else { SYMMETRIC };
        let link = if self.link == Link::Logistic { 0 } else { 1 };
        for word in [FORMAT, shape_word, link, self.width as u32, exponent.cast_unsigned()] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.base.to_le_bytes());
        bytes.extend((spans.len() as u32).to_le_bytes());
        for span in spans {
            self.write_tree(*span, &mut bytes);
        }
        bytes
    }

    fn write_tree(&self, span: Span, bytes: &mut Vec<u8>) {
        let Layout { inputs, shape, covers, .. } = &self.layout;
        let own = span.start as usize..(span.start + span.len) as usize;
        let packed = |input: usize| inputs.get(input).map_or(LEAF, |input| input.feature() as u16 | u16::from(input.missing_right()) << 15);
        match shape {
            Shape::Ordinary { nodes } => {
                bytes.extend(span.len.to_le_bytes());
                for (node, cover) in nodes[own.clone()].iter().zip(&covers[own]) {
                    bytes.extend(packed(usize::from(node.input)).to_le_bytes());
                    bytes.extend(node.left.to_le_bytes());
                    bytes.extend(node.word.to_le_bytes());
                    bytes.extend(cover.to_le_bytes());
                }
            }
            Shape::Symmetric { levels, leaves } => {
                bytes.extend(span.depth.to_le_bytes());
                for level in &levels[span.level as usize..][..span.depth as usize] {
                    bytes.extend(packed(level.input as usize).to_le_bytes());
                    bytes.extend(level.threshold.to_le_bytes());
                }
                bytes.extend(leaves[own.clone()].iter().flat_map(|leaf| leaf.to_le_bytes()));
                bytes.extend(covers[own].iter().flat_map(|cover| cover.to_le_bytes()));
            }
        }
    }

    /// The inverse of [`Self::to_bytes`].
    ///
    /// # Errors
    /// Of the kind `Config` for anything that is not exactly such a model.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        reader.model().map_err(|why| Error::config(format!("trees are not usable: {why}")))?
    }
}

/// What stands for a column in a leaf; both highest bits, which no input has.
const LEAF: u16 = u16::MAX;
const _: () = assert!(crate::limits::TREES_FEATURES_MAX < (LEAF & 0x7fff) as usize);

/// What is left of the bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.0.split_first_chunk().ok_or("its end is missing")?;
        self.0 = rest;
        Ok(*head)
    }
    fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_le_bytes)
    }
    fn u16(&mut self) -> Result<u16, String> {
        self.take().map(u16::from_le_bytes)
    }
    fn f32(&mut self) -> Result<f32, String> {
        self.take().map(f32::from_le_bytes)
    }

    fn model(&mut self) -> Result<Result<Trees>, String> {
        if self.take()? != MAGIC {
            return Err("they do not begin with TGBT".into());
        }
        let format = self.u32()?;
        if format != FORMAT {
            return Err(format!("format {format}, this version reads {FORMAT}; train them again or use the version that wrote them"));
        }
        let (shape, link, width) = (self.u32()?, self.u32()?, self.u32()? as usize);
        let exponent = self.u32()?.cast_signed();
        let base = f64::from_le_bytes(self.take()?);
        let count = self.u32()? as usize;
        let link = match link {
            0 => Link::Logistic,
            1 => Link::Identity,
            _ => return Err(format!("link {link} is not known")),
        };
        if count > TREES_MAX {
            return Err(format!("{count} trees; {TREES_MAX} are possible"));
        }
        let unit = |integer: i32| libm::ldexp(f64::from(integer), -exponent.clamp(-1_000, 1_000));
        let sketch = match shape {
            ORDINARY => Sketch::Ordinary((0..count).map(|_| self.ordinary(unit)).collect::<Result<_, _>>()?),
            SYMMETRIC => Sketch::Symmetric((0..count).map(|_| self.symmetric(unit)).collect::<Result<_, _>>()?),
            _ => return Err(format!("shape {shape} is not known")),
        };
        if !self.0.is_empty() {
            return Err(format!("{} bytes too many", self.0.len()));
        }
        Ok(Trees::with_exponent(width, link, base, &sketch, Some(exponent)))
    }

    fn condition(packed: u16, threshold: f32) -> Condition {
        Condition { feature: u32::from(packed & 0x7fff), threshold, missing_right: packed >> 15 != 0 }
    }

    fn ordinary(&mut self, unit: impl Fn(i32) -> f64) -> Result<Vec<Node>, String> {
        let count = self.u32()? as usize;
        if count > TREES_NODES_MAX || self.0.len() < count * 12 {
            return Err(format!("{count} nodes do not fit {} bytes", self.0.len()));
        }
        (0..count)
            .map(|_| {
                let (packed, left, word, cover) = (self.u16()?, u32::from(self.u16()?), self.u32()?, self.f32()?);
                Ok(match packed {
                    LEAF => Node::Leaf { value: unit(word.cast_signed()), cover },
                    _ => Node::Split { condition: Self::condition(packed, f32::from_bits(word)), left, right: left + 1, cover },
                })
            })
            .collect()
    }

    fn symmetric(&mut self, unit: impl Fn(i32) -> f64) -> Result<SymmetricTree, String> {
        let depth = self.u32()? as usize;
        if depth > TREES_SYMMETRIC_DEPTH_MAX {
            return Err(format!("a symmetric tree of {depth} levels; {TREES_SYMMETRIC_DEPTH_MAX} are possible"));
        }
        let levels = (0..depth).map(|_| Ok(Self::condition(self.u16()?, self.f32()?))).collect::<Result<_, String>>()?;
        let leaves = (0..1 << depth).map(|_| self.u32().map(|word| unit(word.cast_signed()))).collect::<Result<_, _>>()?;
        let covers = (0..1 << depth).map(|_| self.f32()).collect::<Result<_, _>>()?;
        Ok(SymmetricTree { levels, leaves, covers })
    }
}
