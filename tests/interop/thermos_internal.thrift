/*
 * What a program knows that reads checkpoints and knows nothing of our extensions: the structs of Aurora 0.23,
 * by name, number and type. Only tests use it; compiled by Debian's thrift.
 */

namespace py independent

enum ProcessState {
  WAITING = 0
  FORKED = 1
  RUNNING = 2
  SUCCESS = 3
  KILLED = 4
  FAILED = 5
  LOST = 6
}

struct ProcessStatus {
  1: optional i64 seq
  3: optional string process
  5: optional ProcessState state
  6: optional double start_time
  7: optional i32 pid
  8: optional double stop_time
  9: optional i32 return_code
  10: optional i32 coordinator_pid
  11: optional double fork_time
}

enum TaskState {
  ACTIVE = 0
  SUCCESS = 1
  FAILED = 2
  KILLED = 3
  LOST = 4
  CLEANING = 5
  FINALIZING = 6
}

struct TaskStatus {
  1: optional TaskState state
  2: optional i64 timestamp_ms
  3: optional i32 runner_pid
  4: optional i32 runner_uid
}

struct RunnerHeader {
  1: optional string task_id
  2: optional i64 launch_time_ms
  3: optional string sandbox
  4: optional string hostname
  5: optional string user
  6: optional map<string, i64> ports
  7: optional string log_dir
  8: optional i32 uid
}

union RunnerCkpt {
  1: RunnerHeader runner_header
  2: ProcessStatus process_status
  3: TaskStatus task_status
}
