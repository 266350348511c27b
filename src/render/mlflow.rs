//! MLflow's server as an image of its own: the public image has neither a PostgreSQL driver nor a bucket's client. It is
//! planned, rendered and assembled like any other image, from a lock derived from the stack's.

use crate::lock::{ImageSettings, Lock, LockedPlatform, LockedService, LockedWheel, Stack};
use crate::oci::Platform;
use crate::spec::ArtifactStore;
use crate::version::wheel_tag::{WheelFilename, machine_name};

/// Folder of the server's volume; the image's working directory, so that it belongs to the image's user.
pub(super) const FOLDER: &str = "/mlartifacts";

/// Packages that the server's environment is resolved from.
pub fn mlflow_requirements(artifacts: &ArtifactStore) -> Vec<&'static str> {
    let mut packages = vec!["mlflow", "psycopg2-binary"];
    packages.extend_from_slice(match artifacts {
        ArtifactStore::Volume => &[],
        ArtifactStore::Bucket(url) => match Store::of(url) {
            Store::S3 => &["boto3"],
            Store::AzureBlob => &["azure-identity", "azure-storage-blob"],
            Store::AzureDataLake => &["azure-identity", "azure-storage-file-datalake"],
            Store::Gcs => &["google-cloud-storage"],
            Store::Other => &[],
        },
    });
    packages
}

/// The lock of the server's image, if the stack has one: same bases, the server's wheels and settings.
pub fn mlflow_lock(lock: &Lock) -> Option<Lock> {
    let service = service(lock)?;
    let mut server = lock.clone();
    server.name = format!("{}-mlflow", lock.name);
    server.stack =
        Stack { accelerator: "cpu".to_owned(), cuda: None, cudnn: None, driver_minimum: None, ..server.stack };
    server.frameworks.clear();
    server.services.clear();
    server.image = ImageSettings {
        compression: lock.image.compression,
        compile: lock.image.compile,
        repository: lock.image.repository.as_ref().map(|repository| format!("{repository}-mlflow")),
        mirror: lock.image.mirror.clone(),
        version: lock.image.version.clone(),
        tags: lock.image.tags.clone(),
        immutable_tags: lock.image.immutable_tags.clone(),
        user: "mlflow".to_owned(),
        workdir: FOLDER.to_owned(),
        entrypoint: Vec::new(),
        command: ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--serve-artifacts"]
            .map(str::to_owned)
            .to_vec(),
        run: Vec::new(),
        // The server's job workers take more memory than the server, and tracking needs none of them.
        env: [("MLFLOW_DISABLE_TELEMETRY", "true"), ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        files: Vec::new(),
    };
    for platform in &mut server.platforms {
        let LockedPlatform { name, wheels, .. } = platform;
        *wheels = service.wheels.iter().filter(|wheel| runs_on(wheel, *name)).cloned().collect();
    }
    Some(server)
}

/// The stack's MLflow service.
pub(super) fn service(lock: &Lock) -> Option<&LockedService> {
    lock.services.iter().find(|service| service.kind == "mlflow")
}

/// A kind of bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    S3,
    AzureBlob,
    AzureDataLake,
    Gcs,
    Other,
}

impl Store {
    /// By the schemes under which MLflow registers its artifact repositories.
    pub(super) fn of(url: &str) -> Self {
        match url.split("://").next().unwrap_or_default() {
            "s3" => Self::S3,
            "wasb" | "wasbs" => Self::AzureBlob,
            "abfs" | "abfss" => Self::AzureDataLake,
            "gs" => Self::Gcs,
            _ => Self::Other,
        }
    }

    /// Environment variables that the bucket's client reads its access from.
    pub(super) fn credentials(self) -> &'static [&'static str] {
        match self {
            Self::S3 => &[
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
                "AWS_DEFAULT_REGION",
                "MLFLOW_S3_ENDPOINT_URL",
            ],
            Self::AzureBlob => &[
                "AZURE_STORAGE_CONNECTION_STRING",
                "AZURE_STORAGE_ACCESS_KEY",
                "AZURE_CLIENT_ID",
                "AZURE_CLIENT_SECRET",
                "AZURE_TENANT_ID",
            ],
            Self::AzureDataLake => &["AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"],
            Self::Gcs => &["GOOGLE_APPLICATION_CREDENTIALS"],
            Self::Other => &[],
        }
    }
}

/// Whether a wheel is for this platform, by its file name; the lock lists the server's wheels of all platforms together.
fn runs_on(wheel: &LockedWheel, platform: Platform) -> bool {
    let machine = machine_name(platform.architecture_name());
    match wheel.file.parse::<WheelFilename>() {
        Ok(file) => file.platform_tags.iter().any(|tag| tag == "any" || tag.ends_with(machine)),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_brings_its_client() {
        let packages = |url: &str| mlflow_requirements(&ArtifactStore::Bucket(url.to_owned()));
        assert_eq!(mlflow_requirements(&ArtifactStore::Volume), ["mlflow", "psycopg2-binary"]);
        assert_eq!(packages("s3://bucket/prefix"), ["mlflow", "psycopg2-binary", "boto3"]);
        assert_eq!(
            packages("wasbs://container@account.blob.core.windows.net/prefix"),
            ["mlflow", "psycopg2-binary", "azure-identity", "azure-storage-blob"]
        );
        assert_eq!(packages("gs://bucket"), ["mlflow", "psycopg2-binary", "google-cloud-storage"]);
    }
}
