;; Puts its payload into the journal and asks for another attempt 1 500 ms later; that one answers with what the journal kept.
(module
  (import "taskwarden:plugin/journal@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "taskwarden:plugin/journal@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))
  (data (i32.const 0) "begun")
  (data (i32.const 16) "not yet")
  ;; At 64 the host's answers; at 128 a result yet to be filled in; at 192 `transient` with "not yet" and 1 500 ms.
  (data (i32.const 192) "\01\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\10\00\00\00\07\00\00\00\01\00\00\00\00\00\00\00\dc\05\00\00\00\00\00\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $next)
    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))
  ;; id, task-type, ai-model, attempt, max-attempts, payload (9 and 10), idempotency-key -> pointer to the result
  (func (export "execute") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $get (i32.const 0) (i32.const 5) (i32.const 64))
    (if (i32.load8_u (i32.const 64))
      (then
        (i64.store (i32.const 136) (i64.load (i32.const 68)))
        (return (i32.const 128))))
    (call $put (i32.const 0) (i32.const 5) (local.get 9) (local.get 10) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then unreachable))
    (i32.const 192)))
