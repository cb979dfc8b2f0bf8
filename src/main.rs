//! The program. Everything it does is in the library.

use std::process::ExitCode;

/// Gives memory back after a flood of entities, and is faster for the many small buffers of a batch.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    threatguard::cli::main()
}
