//! The floor on ring, which starts without AWS-LC's gathering of entropy.

#[path = "floor.rs"]
mod floor;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    floor::main()
}
