;; Grows a table a little at a time, and would answer `null` once a growth fails.
(module
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (data (i32.const 0) "\00\00\00\00\00\00\00\00\10\00\00\00\04\00\00\00null")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "execute") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (loop $again
      (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    (i32.const 0)))
