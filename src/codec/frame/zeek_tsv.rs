//! Zeek's tab-separated logs: rows under a `#fields` header become the JSON rows that Zeek itself would have written.
//!
//! A row whose columns do not match its header stays as it is. Labelled logs of the IoT-23 kind put several columns into the last one,
//! three spaces apart; they are taken apart in header and rows alike.

use crate::codec::json::push_string;

const SPACED: &[u8] = b"   ";

/// What the header lines of a log said, the newest of each.
#[derive(Clone, Debug)]
pub struct Header {
    separator: u8,
    set_separator: Vec<u8>,
    empty: Vec<u8>,
    unset: Vec<u8>,
    path: Vec<u8>,
    columns: Vec<Column>,
    types: Vec<Type>,
    /// Columns inside the last tab-separated one; 1 in plain Zeek logs.
    last_columns: usize,
}

#[derive(Clone, Debug)]
struct Column {
    /// `"name":`, ready to be written.
    label: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Bool,
    TextList,
    NumberList,
    BoolList,
}

/// What became of a line under a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Written as JSON.
    Row,
    /// No header yet, or not a row of it.
    Other,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            separator: b'\t',
            set_separator: b",".to_vec(),
            empty: b"(empty)".to_vec(),
            unset: b"-".to_vec(),
            path: Vec::new(),
            columns: Vec::new(),
            types: Vec::new(),
            last_columns: 1,
        }
    }
}

impl Header {
    /// Takes a line that begins with `#`; `false` if it is no header line of Zeek's and so a record like any other.
    /// `#separator` begins a new header.
    pub fn read(header: &mut Option<Self>, line: &[u8]) -> bool {
        if let Some(separator) = line.strip_prefix(b"#separator ") {
            *header = Some(Self { separator: unescape_byte(separator), ..Self::default() });
            return true;
        }
        let separator = header.as_ref().map_or(b'\t', |header| header.separator);
        let (name, value) = match line.iter().position(|byte| *byte == separator) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let known: [&[u8]; 8] = [b"#set_separator", b"#empty_field", b"#unset_field", b"#path", b"#open", b"#close", b"#fields", b"#types"];
        if !known.contains(&name) {
            return header.is_some();
        }
        let header = header.get_or_insert_default();
        match name {
            b"#set_separator" => header.set_separator = value.to_vec(),
            b"#empty_field" => header.empty = value.to_vec(),
            b"#unset_field" => header.unset = value.to_vec(),
            b"#path" => header.path = value.to_vec(),
            b"#fields" => header.fields(value),
            b"#types" => header.types = header.split_last(value, SPACED).iter().map(|name| type_of(name)).collect(),
            _ => {}
        }
        true
    }

    fn fields(&mut self, value: &[u8]) {
        let last = value.rsplit(|byte| *byte == self.separator).next().unwrap_or(value);
        self.last_columns = split_by(last, SPACED).len();
        self.types.clear();
        self.columns = self.split_last(value, SPACED).into_iter().map(Column::new).collect();
    }

    /// The cells of a line, the last one taken apart where the header has several names in it.
    fn split_last<'l>(&self, line: &'l [u8], inner: &[u8]) -> Vec<&'l [u8]> {
        let mut cells: Vec<&[u8]> = line.split(|byte| *byte == self.separator).collect();
        if self.last_columns > 1
            && let Some(last) = cells.pop()
        {
            cells.extend(split_by(last, inner));
        }
        cells
    }

    /// Writes a row as one JSON object into `out`. Unset columns are left out, as Zeek does.
    pub fn row(&self, line: &[u8], out: &mut Vec<u8>) -> Line {
        let plain = self.columns.len() + 1 - self.last_columns.min(self.columns.len());
        if self.columns.is_empty() || line.iter().filter(|byte| **byte == self.separator).count() + 1 != plain {
            return Line::Other;
        }
        let cells = self.split_last(line, SPACED);
        if cells.len() != self.columns.len() {
            return Line::Other;
        }
        out.clear();
        out.extend_from_slice(b"{\"_path\":");
        push_string(out, &self.path);
        for (index, (cell, column)) in cells.into_iter().zip(&self.columns).enumerate() {
            if cell == self.unset {
                continue;
            }
            out.push(b',');
            out.extend_from_slice(&column.label);
            self.value(cell, self.types.get(index).copied().unwrap_or(Type::Text), out);
        }
        out.push(b'}');
        Line::Row
    }

    fn value(&self, cell: &[u8], kind: Type, out: &mut Vec<u8>) {
        let element = match kind {
            Type::TextList => Type::Text,
            Type::NumberList => Type::Number,
            Type::BoolList => Type::Bool,
            scalar => {
                let cell = if cell == self.empty { b"" } else { cell };
                return push_scalar(cell, scalar, out);
            }
        };
        out.push(b'[');
        if cell != self.empty {
            for (index, part) in split_by(cell, &self.set_separator).into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                if part == self.unset { out.extend_from_slice(b"null") } else { push_scalar(part, element, out) }
            }
        }
        out.push(b']');
    }
}

impl Column {
    fn new(name: &[u8]) -> Self {
        let mut label = Vec::with_capacity(name.len() + 3);
        push_string(&mut label, name);
        label.push(b':');
        Self { label }
    }
}

fn type_of(name: &[u8]) -> Type {
    let inner = name.strip_suffix(b"]").and_then(|name| name.strip_prefix(b"set[").or_else(|| name.strip_prefix(b"vector[")));
    match (inner, inner.unwrap_or(name)) {
        (None, b"bool") => Type::Bool,
        (Some(_), b"bool") => Type::BoolList,
        (None, b"time" | b"interval" | b"count" | b"int" | b"double" | b"port") => Type::Number,
        (Some(_), b"time" | b"interval" | b"count" | b"int" | b"double" | b"port") => Type::NumberList,
        (None, _) => Type::Text,
        (Some(_), _) => Type::TextList,
    }
}

fn push_scalar(cell: &[u8], kind: Type, out: &mut Vec<u8>) {
    match (kind, cell) {
        (Type::Bool, b"T") => out.extend_from_slice(b"true"),
        (Type::Bool, b"F") => out.extend_from_slice(b"false"),
        (Type::Number, cell) if is_number(cell) => out.extend_from_slice(cell),
        _ => push_unescaped(cell, out),
    }
}

/// A decimal number that JSON takes as it is.
fn is_number(cell: &[u8]) -> bool {
    let digits = cell.strip_prefix(b"-").unwrap_or(cell);
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let decimal = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    decimal(whole) && (whole.len() == 1 || whole[0] != b'0') && fraction.is_none_or(decimal)
}

/// A string cell. Zeek writes its separators and a backslash inside text as `\xNN`; those of printable ASCII and tabs are undone,
/// other bytes stay escaped as they are in Zeek's own JSON.
fn push_unescaped(cell: &[u8], out: &mut Vec<u8>) {
    if !cell.contains(&b'\\') {
        return push_string(out, cell);
    }
    let mut text = Vec::with_capacity(cell.len());
    let mut at = 0;
    while at < cell.len() {
        match hex_escape(&cell[at..]) {
            Some(byte @ (b'\t' | 0x20..0x7f)) => {
                text.push(byte);
                at += 4;
            }
            _ => {
                text.push(cell[at]);
                at += 1;
            }
        }
    }
    push_string(out, &text);
}

/// The byte of a leading `\xNN`.
fn hex_escape(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let escape = text.starts_with(b"\\x").then(|| Some(digit(2)? * 16 + digit(3)?))??;
    u8::try_from(escape).ok()
}

fn unescape_byte(text: &[u8]) -> u8 {
    hex_escape(text).or(text.first().copied()).unwrap_or(b'\t')
}

fn split_by<'l>(text: &'l [u8], separator: &[u8]) -> Vec<&'l [u8]> {
    if separator.is_empty() {
        return vec![text];
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}
