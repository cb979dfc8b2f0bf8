//! An object store for the tests of what is kept in one.

/// What a program is told of an S3-compatible server with a bucket called `threatguard`, or none, said plainly.
pub fn environment(test: &str) -> Option<[(&'static str, String); 5]> {
    let Some(endpoint) = std::env::var("THREATGUARD_TEST_S3").ok().filter(|endpoint| !endpoint.is_empty()) else {
        println!("{test}: skipped, THREATGUARD_TEST_S3 names no S3-compatible server with a bucket called threatguard");
        return None;
    };
    let text = |name, value: &str| (name, value.to_owned());
    Some([
        ("AWS_ENDPOINT", endpoint),
        text("AWS_ALLOW_HTTP", "true"),
        text("AWS_REGION", "us-east-1"),
        text("AWS_ACCESS_KEY_ID", "a"),
        text("AWS_SECRET_ACCESS_KEY", "b"),
    ])
}
