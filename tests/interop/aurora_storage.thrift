// Of Aurora's storage.thrift, what a backup of its scheduler holds; and what older versions of it held beside that.
// Compiled by Debian's thrift, it is a writer of backups that knows nothing of our tables.

include "aurora_api.thrift"

namespace py aurora_storage

struct StoredCronJob {
  3: aurora_api.JobConfiguration jobConfiguration
}

struct SchedulerMetadata {
  1: string frameworkId
  8: map<string, string> details
}

struct QuotaConfiguration {
  1: string role
  2: aurora_api.ResourceAggregate quota
}

struct StoredJobUpdateDetails {
  1: aurora_api.JobUpdateDetails details
}

struct Snapshot {
  1: i64 timestamp
  3: set<aurora_api.HostAttributes> hostAttributes
  4: set<aurora_api.ScheduledTask> tasks
  5: set<StoredCronJob> cronJobs
  6: SchedulerMetadata schedulerMetadata
  8: set<QuotaConfiguration> quotaConfigurations
  9: optional set<aurora_api.Lock> locks // not since 0.18
  10: set<StoredJobUpdateDetails> jobUpdateDetails
  13: set<aurora_api.HostMaintenanceRequest> hostMaintenanceRequests
}

struct DeduplicatedScheduledTask {
  1: aurora_api.ScheduledTask partialScheduledTask
  2: i32 taskConfigId
}

struct DeduplicatedSnapshot {
  1: Snapshot partialSnapshot
  2: list<DeduplicatedScheduledTask> partialTasks
  3: list<aurora_api.TaskConfig> taskConfigs
}
