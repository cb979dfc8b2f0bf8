//! Every bound, with its unit in its name, asserted against the others where they depend on each other.

/// Raw record. A larger one is a dead letter that carries its first bytes and its size.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// How much of an oversized or broken record a dead letter keeps.
pub const DEAD_LETTER_BYTES_MAX: usize = RECORD_BYTES_MAX;
/// Nesting of arrays and objects.
pub const JSON_DEPTH_MAX: usize = 32;
/// Digits, sign, point and exponent of one number.
pub const JSON_NUMBER_BYTES_MAX: usize = 32;
/// Fields of one object, known and unknown together.
pub const JSON_FIELDS_MAX: usize = 512;
/// Unknown fields that a threat shows of its event, and the bytes of all of them together.
pub const EXTRA_SHOWN_MAX: usize = 32;
pub const EXTRA_SHOWN_BYTES_MAX: usize = 4 * 1024;

/// Characters, not bytes (product.md 1.1).
pub const PROTOCOL_CHARS_MAX: usize = 10;
pub const EVENT_TYPE_CHARS_MAX: usize = 50;
pub const USER_AGENT_CHARS_MAX: usize = 500;
pub const USER_ID_CHARS_MAX: usize = 100;
pub const STRING_CHARS_MAX: usize = 1000;

/// 1990-01-01T00:00:00Z; anything before is not an event time.
pub const EVENT_TIME_MIN_MICROS: i64 = 631_152_000_000_000;
/// 2100-01-01T00:00:00Z, the bound where a record carries no time of its own.
pub const EVENT_TIME_MAX_MICROS: i64 = 4_102_444_800_000_000;
/// An event may be this much ahead of its record's own timestamp; more is clamped to it.
pub const EVENT_AHEAD_OF_RECORD_MICROS_MAX: i64 = 24 * 3_600 * 1_000_000;
/// An event that lasted is late by its end; no more than this is believed of how long it lasted.
pub const EVENT_LASTS_SECONDS_MAX: f64 = 30.0 * 86_400.0;

/// Files of a folder that are read side by side.
pub const FILES_OPEN_MAX: usize = 256;

/// Events of one batch and one partition.
pub const BATCH_EVENTS_MAX: usize = 8_192;
/// Raw bytes of one batch.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A Redis value of one entity.
pub const STATE_VALUE_BYTES_MAX: usize = 4 * 1024;
/// Values written by one checkpoint script; larger ones block the server.
pub const CHECKPOINT_CHUNK_ENTITIES_MAX: usize = 500;

/// Intelligence lists of one set; list and confidence share 16 bits in the tables.
pub const INTEL_LISTS_MAX: usize = 512;

/// Correlation, per entity: threats kept until they are resolved and fingerprints that are suppressed; latest ids that count
/// once; threat types; techniques, recommendations and accounts shown in an alert.
pub const CORRELATED_THREATS_MAX: usize = 32;
pub const CORRELATED_IDS_MAX: usize = 256;
pub const CORRELATED_TYPES_MAX: usize = 16;
pub const CORRELATED_SHOWN_MAX: usize = 12;

/// Partitions of inputs that correlation keeps apart.
pub const CORRELATED_SOURCES_MAX: usize = 4_096;

/// Threats that were told as resolved are kept until their own partition of the input has brought one from so much later: an event may
/// be dated a day ahead, and another one come a day late.
pub const CORRELATED_KEPT_MICROS: i64 = 2 * EVENT_AHEAD_OF_RECORD_MICROS_MAX;

/// One published record. Larger outputs are truncated with a flag, so that a batch can never fail for ever.
pub const OUTPUT_BYTES_MAX: usize = 900 * 1024;

const _: () = assert!(BATCH_BYTES_MAX > RECORD_BYTES_MAX);
const _: () = assert!(OUTPUT_BYTES_MAX > DEAD_LETTER_BYTES_MAX * 4 / 3 + 16 * 1024, "a dead letter in base64 must fit an output");
const _: () = assert!(EVENT_TIME_MIN_MICROS < EVENT_TIME_MAX_MICROS);

/// Trees of one isolation forest; their path lengths must add up in 32 bits.
pub const FOREST_TREES_MAX: usize = 1_000;
const _: () = assert!(FOREST_TREES_MAX < (u32::MAX / u16::MAX as u32) as usize);

/// Features of a row or symbols of an alphabet, and cells, of one LSTM: at most 11 million weights.
pub const LSTM_INPUTS_MAX: usize = 4_096;
pub const LSTM_HIDDEN_MAX: usize = 512;
/// Boosted trees: trees of one model, their nodes together, its columns, levels of one tree, and leaves of a symmetric one as levels.
pub const TREES_MAX: usize = 10_000;
pub const TREES_NODES_MAX: usize = 4_000_000;
pub const TREES_FEATURES_MAX: usize = 16_384;
pub const TREES_DEPTH_MAX: usize = 64;
pub const TREES_SYMMETRIC_DEPTH_MAX: usize = 8;
/// Rows that boosted trees are fitted on; sums of gradients of so many are exact.
pub const TREES_ROWS_MAX: usize = 1 << 26;
/// Bytes of a model file of another library.
pub const TREES_IMPORT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One file of a model bundle. A forest of the most trees has 1.6 MB, a calibration 0.1 MB.
pub const BUNDLE_PART_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Entities of which the network of a shadow remembers anything, in each shard.
pub const SHADOW_ENTITIES_MAX: usize = 100_000;
/// Changes of roles that a registry of bundles remembers.
pub const REGISTRY_HISTORY_MAX: usize = 200;
/// Records of retraining jobs that it keeps.
pub const REGISTRY_JOBS_MAX: usize = 200;
/// A file of analysts' verdicts, and the characters of an analyst's name.
pub const FEEDBACK_BYTES_MAX: u64 = 64 * 1024 * 1024;
pub const FEEDBACK_NAME_CHARS_MAX: usize = 100;
/// The file that says who has which role, or how far a job is.
pub const REGISTRY_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A window of recent rows that outlives its process: 61 bytes a row, of which there are 200,000 at most.
pub const RECALIBRATION_WINDOW_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Rows kept for training, out of any number seen.
pub const TRAINING_ROWS_MAX: usize = 1_000_000;
/// Rows of one table that a model is fitted to or that are scored at once.
pub const TABLE_ROWS_MAX: usize = 10_000_000;
/// Bytes of one table once decompressed; it is read whole.
pub const TABLE_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Symbols of one sequence, different ones of a column of sequences, and symbols of all sequences that are learned from.
pub const SEQUENCE_SYMBOLS_MAX: usize = 1_000_000;
pub const SEQUENCE_ALPHABET_MAX: usize = 65_536;
pub const SEQUENCE_SYMBOLS_LEARNED_MAX: usize = 4_000_000;
/// Stretches of up to eight symbols that are counted, about a hundred bytes each; traces of system calls have one or two a symbol.
pub const SEQUENCE_HISTORIES_MAX: usize = 8_000_000;
const _: () = assert!(SEQUENCE_SYMBOLS_LEARNED_MAX as u64 * 4 < BUNDLE_PART_BYTES_MAX / 2, "a model of sequences must fit a part");

/// Rows of each kind, attacks and benign, that permutation importance is measured on; about 500 bytes each.
pub const IMPORTANCE_ROWS_MAX: usize = 1_000_000;
/// Events that one backtest measures, 60 bytes each; and different labels among them.
pub const BACKTEST_EVENTS_MAX: usize = 1 << 24;
pub const BACKTEST_CLASSES_MAX: usize = 1_000;
/// Incidents that a backtest's results list one by one; the sums are of all.
pub const BACKTEST_INCIDENTS_SHOWN_MAX: usize = 1_000;
