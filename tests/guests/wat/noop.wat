;; Answers `null` and does nothing else: what a dispatch costs.
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))
  (data (i32.const 0) "\00\00\00\00\00\00\00\00\10\00\00\00\04\00\00\00null")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $next)
    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))
  ;; id, task-type, ai-model, attempt, max-attempts, payload, idempotency-key -> pointer to the result
  (func (export "execute") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.const 0)))
