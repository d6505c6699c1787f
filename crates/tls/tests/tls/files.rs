//! Files as an administrator, cert-manager or kubelet leaves them: whole, changed, half-written, of another pair.

use std::fs;

use dynamo_tls::{Caller, CallerFiles, LoadError, Material, client, server};

use crate::authority::{Authority, Folder, node};

#[test]
fn what_fits_together_is_loaded_with_its_name_and_fingerprints_and_serves_both_sides() {
    let (folder, authority) = (Folder::new(), Authority::new("one"));
    let files = folder.files(&authority, &node("a"));
    let material = Material::load(&files).unwrap();
    assert_eq!(material.names, [node("a")]);
    assert_eq!((material.fingerprint.len(), material.trust.fingerprints.len()), (64, 1));
    assert!(material.not_before_s < material.not_after_s);
    server::config(&material, server::Certificates::Required).unwrap();
    server::config(&material, server::Certificates::Asked).unwrap();
    client::of_node(&material).unwrap();
    assert!(material.is_same_as(&Material::load(&files).unwrap()));
}

#[test]
fn a_bundle_of_two_is_two_fingerprints_in_whatever_order() {
    let (folder, one, other) = (Folder::new(), Authority::new("one"), Authority::new("other"));
    let files = folder.files(&one, &node("a"));
    folder.put("trust", &format!("{}{}", one.pem, other.pem));
    let both = Material::load(&files).unwrap();
    folder.put("trust", &format!("{}\n# a comment\n{}", other.pem, one.pem));
    let turned = Material::load(&files).unwrap();
    assert_eq!(both.trust.fingerprints.len(), 2);
    assert_eq!(both.trust.fingerprints, turned.trust.fingerprints);
    assert!(!both.is_same_as(&turned), "the files differ");
    assert_eq!(both.signed_by, turned.signed_by, "whoever stands first, one has signed it");
    assert_eq!((both.trust.first() == both.signed_by, turned.trust.first() == turned.signed_by), (true, false));
    folder.put("trust", &other.pem);
    assert_eq!(Material::load(&files).unwrap().signed_by, "");
}

#[test]
fn a_key_of_another_pair_is_refused_until_its_certificate_is_there() {
    let (folder, authority) = (Folder::new(), Authority::new("one"));
    let files = folder.files(&authority, &node("a"));
    let (certificate, key) = authority.sign(&node("a"), false);
    folder.put("key", &key);
    assert!(matches!(Material::load(&files), Err(LoadError::Mismatch { .. })));
    folder.put("certificate", &certificate);
    Material::load(&files).unwrap();
}

#[test]
fn what_is_missing_or_rubbish_is_told_with_its_file_and_no_key_is_repeated() {
    let (folder, authority) = (Folder::new(), Authority::new("one"));
    let files = folder.files(&authority, &node("a"));
    let key = fs::read_to_string(&files.key).unwrap();
    for (name, text, says) in [
        ("certificate", "", "holds no certificate"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate"),
        ("trust", "rubbish", "holds no certificate"),
        ("trust", key.as_str(), "holds no certificate"),
        ("key", "hunter2", "holds no private key"),
    ] {
        let whole = fs::read(folder.path(name)).unwrap();
        let path = folder.put(name, text);
        let error = Material::load(&files).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains(says), "{name}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
        fs::write(path, whole).unwrap();
    }
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(Material::load(&files), Err(LoadError::Io { file, .. }) if file == files.key));
}

#[test]
fn a_caller_has_one_token_and_no_spaces_in_it() {
    let (folder, authority) = (Folder::new(), Authority::new("one"));
    let files = |token: &str| CallerFiles {
        trust: folder.put("trust", &authority.pem),
        certificate: None,
        token: Some(folder.put("token", token)),
        server_name: None,
    };
    let caller = Caller::open(files("abcdefgh-ijklmnop\n")).unwrap();
    assert_eq!(caller.authorization().unwrap().as_bytes(), b"Bearer abcdefgh-ijklmnop");
    assert!(!format!("{:?}", caller.authorization()).contains("abcdefgh"));
    for bad in ["", "\n", "two tokens", "two\nlines"] {
        assert!(Caller::open(files(bad)).err().unwrap().contains("token"), "{bad:?}");
    }
    let named = CallerFiles { server_name: Some("not a host".to_owned()), ..files("abcdefgh-ijklmnop") };
    assert!(Caller::open(named).err().unwrap().contains("not a host"));
}
