//! Names of people, web sites, files and applications. One generator for all sides: a name never tells who uses it.

use super::rng::Rng;

#[rustfmt::skip]
const FIRST: [&str; 64] = [
    "anna", "ben", "clara", "david", "elena", "felix", "grace", "henry", "ines", "jonas", "katja", "leon", "maria", "noah", "olga",
    "paul", "quinn", "rosa", "simon", "tara", "uma", "victor", "wanda", "xenia", "yusuf", "zoe", "amir", "bianca", "chen", "divya",
    "emre", "fatima", "gavin", "hana", "ivan", "julia", "kofi", "laura", "mehmet", "nadia", "oscar", "priya", "rahul", "sofia",
    "tom", "ursula", "vera", "walter", "yara", "zane", "arjun", "brigid", "carlos", "dana", "erik", "fiona", "george", "holly",
    "isaac", "jana", "kiran", "lucas", "mona", "nina",
];
#[rustfmt::skip]
const LAST: [&str; 64] = [
    "adler", "bauer", "costa", "duarte", "evans", "fischer", "gupta", "hansen", "iyer", "jensen", "keller", "lange", "mehta",
    "novak", "okafor", "patel", "quist", "rossi", "schmidt", "tanaka", "ullman", "vogel", "weber", "xu", "yilmaz", "zimmer",
    "abbot", "brandt", "clarke", "desai", "engel", "ferrari", "garcia", "hughes", "ibrahim", "jones", "kumar", "lopez", "moreau",
    "nair", "olsen", "pereira", "reddy", "santos", "thomas", "ueda", "verma", "walsh", "yang", "zhou", "arnold", "beck", "cole",
    "diaz", "ellis", "frank", "green", "hall", "ito", "james", "kraus", "lewis", "meyer", "nolan",
];

/// Log-in name number `index`: first initial or name, then surname; a number once the plain ones are used up.
pub(super) fn person(index: usize, rng: &mut Rng) -> String {
    // 1109 is prime to 4096, so the first 4096 people differ in the pair of names.
    let pair = index * 1_109 % 4_096;
    let name = format!("{}.{}", FIRST[pair / 64], LAST[pair % 64]);
    if index < 4_096 { name } else { format!("{name}{}", index / 4_096 + rng.index(2) * 100) }
}

const ONSET: [&str; 24] =
    ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "cl", "dr", "fl", "st", "tr", "pl", "sh"];
const RHYME: [&str; 20] =
    ["a", "e", "i", "o", "u", "an", "en", "in", "on", "ar", "er", "or", "al", "el", "ix", "io", "eo", "ay", "out", "ink"];
const ENDING: [&str; 16] =
    ["com", "com", "com", "com", "com", "net", "net", "org", "io", "de", "co.uk", "in", "app", "cloud", "info", "online"];
const WORD: [&str; 24] = [
    "data", "cloud", "net", "soft", "media", "web", "news", "shop", "mail", "sync", "labs", "tech", "hub", "desk", "flow", "base", "pay",
    "trade", "travel", "home", "sport", "stats", "track", "world",
];
const HOST: [&str; 12] = ["www", "api", "cdn", "static", "app", "img", "portal", "login", "docs", "events", "assets", "m"];
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A registrable domain, pronounceable for the most part.
pub(super) fn domain(rng: &mut Rng) -> String {
    let mut name = String::with_capacity(24);
    for _ in 0..2 + rng.below(2) {
        name.push_str(ONSET[rng.index(ONSET.len())]);
        name.push_str(RHYME[rng.index(RHYME.len())]);
    }
    if rng.chance(0.45) {
        if rng.chance(0.2) {
            name.push('-');
        }
        name.push_str(WORD[rng.index(WORD.len())]);
    }
    name.push('.');
    name.push_str(ENDING[rng.index(ENDING.len())]);
    name
}

/// A host of a site; content networks and trackers carry random-looking labels.
pub(super) fn site(rng: &mut Rng) -> String {
    let domain = domain(rng);
    let roll = rng.unit();
    if roll < 0.25 {
        return domain;
    }
    if roll < 0.9 {
        return format!("{}.{domain}", HOST[rng.index(HOST.len())]);
    }
    let mut label = String::new();
    push_hex(&mut label, 10 + rng.below(6), rng);
    format!("d{label}.{domain}")
}

pub(super) fn push_hex(out: &mut String, digits: u32, rng: &mut Rng) {
    for _ in 0..digits {
        out.push(char::from(HEX[rng.index(16)]));
    }
}

/// Departments, in the order of [`super::world::User::department`].
pub(super) const DEPARTMENTS: [&str; 7] = ["finance", "sales", "engineering", "people", "support", "operations", "legal"];
#[rustfmt::skip]
const DOCUMENTS: [[&str; 6]; 7] = [
    ["budget", "forecast", "invoice", "ledger", "payroll", "audit"], ["lead", "offer", "contract", "pipeline", "pricing", "customer"],
    ["design", "spec", "release", "build", "schematic", "firmware"], ["contract", "review", "salary", "candidate", "onboarding", "leave"],
    ["ticket", "runbook", "article", "escalation", "survey", "shift"], ["inventory", "shipment", "vendor", "maintenance", "rota", "plan"],
    ["case", "agreement", "patent", "policy", "dispute", "filing"],
];
const SUFFIX: [&str; 6] = ["xlsx", "docx", "pdf", "pptx", "csv", "zip"];

/// File number `index` of a department.
pub(super) fn file(department: usize, index: usize, rng: &mut Rng) -> String {
    let topic = DOCUMENTS[department][rng.index(6)];
    format!("/share/{}/{topic}-{index:03}.{}", DEPARTMENTS[department], SUFFIX[rng.index(6)])
}

/// Applications everyone or a department uses: first [`APPS_COMMON`] for all, then two for each department, then the sensitive ones.
#[rustfmt::skip]
pub(super) const APPS: [&str; 25] = [
    "mail", "calendar", "chat", "wiki", "expenses", "timesheet", "directory",
    "erp", "treasury", "crm", "quotes", "git", "tracker", "hris", "recruiting", "helpdesk", "remote-assist", "warehouse", "procurement",
    "contracts", "ip-registry", "vault", "backup-console", "identity-admin", "data-lake",
];
pub(super) const APPS_COMMON: usize = 7;
pub(super) const APPS_SENSITIVE: std::ops::Range<usize> = 21..25;

/// Service accounts, and then the names that the internet's noise tries.
pub(super) const SERVICES: [&str; 10] = [
    "svc-backup",
    "svc-ci",
    "svc-monitor",
    "svc-erp-sync",
    "svc-crm-sync",
    "svc-reports",
    "svc-etl",
    "svc-deploy",
    "svc-scanner",
    "svc-ldap",
];
pub(super) const GUESSED: [&str; 10] = ["root", "admin", "test", "oracle", "ubuntu", "postgres", "guest", "user", "git", "ftpuser"];

#[rustfmt::skip]
pub(super) const BROWSERS: [&str; 5] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36 Edg/133.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:135.0) Gecko/20100101 Firefox/135.0",
];
pub(super) const PHONE_AGENT: &str =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_names_of_their_own_and_sites_look_like_sites() {
        let mut rng = Rng::of(1, 1);
        let people: std::collections::BTreeSet<String> = (0..4_096).map(|i| person(i, &mut rng)).collect();
        assert_eq!(people.len(), 4_096);
        for _ in 0..1_000 {
            let site = site(&mut rng);
            assert!(site.len() < 60 && site.contains('.') && site.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'));
        }
    }
}
