//! A registry of bundles in an object store. Roles change only where nobody else has changed them meanwhile, which the store itself
//! decides; a bundle is there when its manifest is, which goes last, and every part is held against its hash when it is loaded.

use std::fmt;

use object_store::UpdateVersion;

use super::objects::Objects;
use crate::error::{Error, Result};
use crate::limits::BUNDLE_PART_BYTES_MAX;
use crate::models::bundle::{Bundle, MANIFEST_FILE, Manifest};
use crate::models::depot::{Depot, Tag};

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Objects {
    fn part(&self, names: &[&str], name: &str) -> Result<Vec<u8>> {
        let path = [names, &[name]].concat();
        let found = self.read(&path, BUNDLE_PART_BYTES_MAX)?.map(|(bytes, _)| bytes);
        found.ok_or_else(|| Error::config(format!("{} is missing; add the bundle again", self.shown_at(&path))))
    }

    fn shown_at(&self, names: &[&str]) -> String {
        let all: Vec<&str> = std::iter::once(self.shown().trim_end_matches('/')).chain(names.iter().copied()).collect();
        all.join("/")
    }

    fn named<T>(&self, names: &[&str], result: Result<T>) -> Result<T> {
        result.map_err(|error| Error::new(error.kind, format!("model bundle {}", self.shown_at(names))).because(error))
    }
}

impl Depot for Objects {
    fn shown(&self, names: &[&str]) -> String {
        self.shown_at(names)
    }

    fn read(&self, names: &[&str], bytes_max: u64) -> Result<Option<(Vec<u8>, Tag)>> {
        let found = Self::read(self, names, bytes_max)?;
        Ok(found.map(|(bytes, UpdateVersion { e_tag, version })| (bytes, Tag { tag: e_tag, version })))
    }
    fn write(&self, names: &[&str], bytes: &[u8]) -> Result<()> {
        Self::write(self, names, bytes.to_vec())
    }
    fn write_if(&self, names: &[&str], bytes: &[u8], before: Option<&Tag>) -> Result<bool> {
        let before = before.cloned().map(|Tag { tag, version }| UpdateVersion { e_tag: tag, version });
        Self::write_if(self, names, bytes.to_vec(), before)
    }
    fn remove(&self, names: &[&str]) -> Result<()> {
        Self::remove(self, names)
    }
    fn names(&self, below: &[&str]) -> Result<Vec<String>> {
        Ok(Self::names(self, below)?.concat())
    }

    fn save(&self, names: &[&str], files: &[(&str, Vec<u8>)]) -> Result<()> {
        let (manifest, parts): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == MANIFEST_FILE);
        let put = |(name, bytes): &(&str, Vec<u8>)| Self::write(self, &[names, &[*name]].concat(), bytes.clone());
        parts.into_iter().try_for_each(put)?;
        manifest.into_iter().try_for_each(put)
    }
    fn has_bundle(&self, names: &[&str]) -> Result<bool> {
        Ok(Self::read(self, &[names, &[MANIFEST_FILE]].concat(), BUNDLE_PART_BYTES_MAX)?.is_some())
    }
    fn load(&self, names: &[&str]) -> Result<Bundle> {
        self.named(names, Bundle::from_files(|name| self.part(names, name)))
    }
    fn manifest(&self, names: &[&str]) -> Result<Manifest> {
        self.named(names, self.part(names, MANIFEST_FILE).and_then(|bytes| Manifest::parse(&bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::types::EventTime;
    use crate::models::bundle::tests::{bundle, changed};
    use crate::models::depot::Folder;
    use crate::models::registry_files::{Shelf, pipelines};
    use crate::models::retrain::job::Stage;
    use crate::models::retrain::job::tests::job;

    /// What every place must do.
    fn keeps_a_registry(depot: &Arc<dyn Depot>) {
        let shelf = Shelf::of(Arc::clone(depot), "network").unwrap();
        assert!(Shelf::find_in(depot, "network").unwrap().is_none() && shelf.versions().unwrap().is_empty());
        let (first, second) = (bundle(), changed());
        let [a, b] = [&first, &second].map(|bundle| bundle.manifest.version.as_str());
        assert!(shelf.add(&first).unwrap() && shelf.add(&second).unwrap() && !shelf.add(&first).unwrap());
        assert_eq!((shelf.load(a).unwrap(), shelf.manifest(b).unwrap()), (first.clone(), second.manifest.clone()));
        shelf.change(|roles| Ok(roles.promote(a, "then"))).unwrap();
        shelf.change(|roles| Ok(roles.promote(b, "now"))).unwrap();
        let found = Shelf::find_in(depot, "network").unwrap().unwrap();
        assert_eq!((found.roles().unwrap().champion.as_deref(), found.roles().unwrap().before()), (Some(b), Some(a)));
        assert_eq!(pipelines(depot).unwrap(), ["network"]);
        std::thread::scope(|scope| {
            for number in 0..12 {
                let shelf = &shelf;
                scope.spawn(move || shelf.change(|roles| Ok(roles.promote(&format!("{number:016x}"), "now"))).unwrap());
            }
        });
        assert_eq!(shelf.roles().unwrap().history.len(), 14, "none was lost");

        let (now, mut job) = (EventTime(1_772_438_400_000_000), job(EventTime(1_772_438_400_000_000)));
        job.reached(Stage::Fitting, 0.5);
        shelf.keep_job(&job).unwrap();
        assert_eq!(shelf.jobs(now).unwrap(), [job]);
        shelf.keep_note("a.json", b"{}").unwrap();
        assert_eq!((shelf.note("a.json").unwrap().as_deref(), shelf.note("b.json").unwrap()), (Some(&b"{}"[..]), None));
        assert!(shelf.notes().unwrap().contains(&"a.json".to_owned()) && shelf.versions().unwrap().len() == 2);

        // Damage is found at the load, by its name; other names lead nowhere.
        depot.write(&["network", a, "forest.bin"], b"x").unwrap();
        let text = shelf.load(a).unwrap_err().to_string();
        assert!(text.contains("forest.bin is not the one its manifest names") && text.contains(a), "{text}");
        depot.remove(&["network", b, "calibration.json"]).unwrap();
        assert!(shelf.load(b).unwrap_err().to_string().contains("calibration.json is missing"));
        assert!(shelf.load("../../network").is_err() && shelf.job("../roles", now).is_err());
        assert!(shelf.add(&first).unwrap() && shelf.load(a).unwrap() == first, "what is damaged is replaced");
    }

    #[test]
    fn a_folder_and_an_object_store_keep_registries_alike() {
        let folder = tempfile::tempdir().unwrap();
        keeps_a_registry(&(Arc::new(Folder(folder.path().to_owned())) as Arc<dyn Depot>));
        keeps_a_registry(&(Arc::new(Objects::in_memory().unwrap()) as Arc<dyn Depot>));
    }

    #[test]
    fn a_bundle_without_its_manifest_is_none_yet() {
        let objects = Objects::in_memory().unwrap();
        let files = bundle().to_files();
        let (parts, version) = (&files[..files.len() - 1], bundle().manifest.version);
        Depot::save(&objects, &["network", &version], parts).unwrap();
        let shelf = Shelf::of(Arc::new(objects), "network").unwrap();
        assert!(shelf.load(&version).unwrap_err().to_string().contains("there is no version"));
        assert!(shelf.add(&bundle()).unwrap() && shelf.load(&version).is_ok());
    }
}
