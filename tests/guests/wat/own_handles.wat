;; Makes handles of a resource of its own, which the host's table of resources never sees.
(component
  (import "taskwarden:plugin/types@0.1.0" (instance $types
    (type $task' (record (field "id" string) (field "task-type" string) (field "ai-model" (option string)) (field "attempt" u32)
      (field "max-attempts" u32) (field "payload" (list u8)) (field "idempotency-key" string)))
    (export "task" (type $task (eq $task')))
    (type $transient' (record (field "reason" string) (field "retry-after-ms" (option u64))))
    (export "transient" (type $transient (eq $transient')))
    (type $failure' (variant (case "invalid" string) (case "permanent" string) (case "transient" $transient)))
    (export "failure" (type $failure (eq $failure')))))
  (alias export $types "task" (type $task))
  (alias export $types "failure" (type $failure))
  (type $thing (resource (rep i32)))
  (core func $new (canon resource.new $thing))
  (core module $m
    (import "own" "new" (func $new (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "execute") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (loop $again (drop (call $new (i32.const 1))) (br $again))
      (unreachable)))
  (core instance $i (instantiate $m (with "own" (instance (export "new" (func $new))))))
  (func (export "execute") (param "task" $task) (result (result (list u8) (error $failure)))
    (canon lift (core func $i "execute") (memory $i "memory") (realloc (func $i "realloc")))))
