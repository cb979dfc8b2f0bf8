//! What came after what: counts of each symbol after every history of up to so many symbols, and the probabilities they give.
//!
//! A shorter history's probability fills up what the longer one has seen too little of, by the number of different symbols that came
//! after it. Source: Witten, Bell, "The zero-frequency problem: estimating the probabilities of novel events in adaptive text
//! compression", IEEE Transactions on Information Theory 37, 1991. Must never give a probability of 0, nor depend on the order of traces.

/// Stands before the first symbol of a trace; no symbol is as large.
const BEGINNING: u64 = 1 << 32;

/// Counts by history, the latest symbol first: a tree whose root is the empty history.
#[derive(Clone, Debug)]
pub struct Histories {
    longest: usize,
    /// Probability of a symbol of which nothing is known.
    even: f64,
    nodes: Vec<Node>,
}

/// A history: what followed it, and the histories that are one symbol longer. Both sorted, because few are mostly all there are.
#[derive(Clone, Debug, Default)]
struct Node {
    total: u32,
    followers: Vec<(u32, u32)>,
    longer: Vec<(u64, u32)>,
}

impl Histories {
    /// Histories of up to `longest` symbols, of which there are `alphabet` different ones.
    #[must_use]
    pub fn new(longest: usize, alphabet: usize) -> Self {
        Self { longest, even: 1.0 / alphabet.max(1) as f64, nodes: vec![Node::default()] }
    }

    /// Counts the symbol at a place of a trace after all histories it has there.
    pub fn learn(&mut self, trace: &[u32], at: usize) {
        let mut node = 0;
        self.nodes[node].follow(trace[at]);
        for symbol in before(trace, at).take(self.longest) {
            node = match self.nodes[node].longer.binary_search_by_key(&symbol, |(symbol, _)| *symbol) {
                Ok(found) => self.nodes[node].longer[found].1 as usize,
                Err(place) => {
                    let new = self.nodes.len();
                    insert(&mut self.nodes[node].longer, place, (symbol, new as u32));
                    self.nodes.push(Node::default());
                    new
                }
            };
            self.nodes[node].follow(trace[at]);
        }
    }

    /// Histories that were seen.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// -ln of the probability of the symbol at a place of a trace after what came before it.
    #[must_use]
    pub fn surprise(&self, trace: &[u32], at: usize) -> f64 {
        let mut node = &self.nodes[0];
        let mut probability = node.probability(trace[at], self.even);
        for symbol in before(trace, at).take(self.longest) {
            let Ok(found) = node.longer.binary_search_by_key(&symbol, |(symbol, _)| *symbol) else { break };
            node = &self.nodes[node.longer[found].1 as usize];
            probability = node.probability(trace[at], probability);
        }
        -libm::log(probability)
    }
}

impl Node {
    fn follow(&mut self, symbol: u32) {
        self.total += 1;
        match self.followers.binary_search_by_key(&symbol, |(symbol, _)| *symbol) {
            Ok(found) => self.followers[found].1 += 1,
            Err(place) => insert(&mut self.followers, place, (symbol, 1)),
        }
    }

    /// Of the symbol after this history, where a history one symbol shorter gives it `shorter`.
    fn probability(&self, symbol: u32, shorter: f64) -> f64 {
        let different = self.followers.len() as f64;
        if self.total == 0 {
            return shorter;
        }
        let found = self.followers.binary_search_by_key(&symbol, |(symbol, _)| *symbol);
        let count = found.map_or(0, |found| self.followers[found].1);
        (f64::from(count) + different * shorter) / (f64::from(self.total) + different)
    }
}

/// Most histories are followed by one symbol, and room for four would be most of what all take.
fn insert<T>(list: &mut Vec<T>, place: usize, entry: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.insert(place, entry);
}

/// The symbols before a place, the latest first, then the beginning.
fn before(trace: &[u32], at: usize) -> impl Iterator<Item = u64> + '_ {
    trace[..at].iter().rev().map(|symbol| u64::from(*symbol)).chain([BEGINNING])
}
