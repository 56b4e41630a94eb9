/*
 * The x86_64 test guest: a 64 KiB ROM that does what a kernel does first, and
 * only then says so on isa-debug-exit. It is assembled by hand into
 * x86_64.bin (the code only; the reset vector is added by x86_64.go):
 *
 *   as --64 x86_64.S -o x86_64.o
 *   ld -e 0 -Ttext 0 --oformat binary x86_64.o -o x86_64.rom
 *
 * Real mode alone proves nothing: there are hosts whose /dev/kvm runs real
 * mode and 32-bit firmware (SeaBIOS finishes) and never comes back once a
 * guest enters long mode or halts. So: long mode with paging, memory, the
 * local APIC timer, five interrupts that wake HLT, CPUID.
 */
.code16
.org 0
start:
 cli
 xorw %ax,%ax
 movw %ax,%ds
 movw %ax,%es
 movw %ax,%ss
 movw $0x7000,%sp
 /* page tables at 0x1000: 0-2 MiB and the local APIC, identity */
 movw $0x1000,%di
 xorl %eax,%eax
 movl $0x1000,%ecx
 rep stosl
 movl $0x2003,0x1000
 movl $0x3003,0x2000
 movl $0x4003,0x2018
 movl $0x83,0x3000
 movl $0xfee00093,0x4fb8
 movl $0x1000,%eax
 movl %eax,%cr3
 movl %cr4,%eax
 orl $0x20,%eax
 movl %eax,%cr4
 /* EFER.LME */
 movl $0xc0000080,%ecx
 rdmsr
 orl $0x100,%eax
 wrmsr
 lgdtl %cs:gdtr
 movl %cr0,%eax
 orl $0x80000001,%eax
 movl %eax,%cr0
 ljmpl $8,$(0xf0000+lm)
.code64
lm:
 movl $0x10,%eax
 movl %eax,%ds
 movl %eax,%es
 movl %eax,%ss
 movl $0x7000,%esp
 /* memory */
 movabsq $0x1122334455667788,%rbx
 movq %rbx,0x5000
 cmpq 0x5000,%rbx
 jne fail
 /* IDT at 0x6000 with one gate, vector 0x20 */
 movl $0x6000,%edi
 xorl %eax,%eax
 movl $0x200,%ecx
 rep stosl
 movl $(0xf0000+irq),%eax
 movw %ax,0x6200
 movw $8,0x6202
 movw $0x8e00,0x6204
 shrl $16,%eax
 movw %ax,0x6206
 lidt idtr(%rip)
 /* the old interrupt controllers stay out of it */
 movb $0xff,%al
 outb %al,$0x21
 outb %al,$0xa1
 /* local APIC on, timer one-shot: a periodic one floods a KVM that is slower
    than it, as one in a guest is, and HLT is never reached again */
 movl $0xfee00000,%esi
 movl $0x1ff,0xf0(%rsi)
 movl $0xb,0x3e0(%rsi)
 movl $0x20,0x320(%rsi)
 xorl %ebp,%ebp
wait:
 /* 1,000,000 ticks: 1 ms */
 movl $1000000,0x380(%rsi)
 sti
 hlt
 cli
 cmpl $5,%ebp
 jb wait
 xorl %eax,%eax
 cpuid
 movb $0x2a,%al
 outb %al,$0xf4
fail:
 cli
 hlt
 jmp fail
irq:
 incl %ebp
 movl $0,0xb0(%rsi)
 iretq
.balign 8
/* The segments are marked as accessed: the CPU would do it, and this is ROM. KVM
   would emulate the write, again and again where an interrupt makes it. */
gdt: .quad 0
 .quad 0x00af9b000000ffff
 .quad 0x00cf93000000ffff
gdtr: .word 23
 .long 0xf0000+gdt
idtr: .word 0xfff
 .quad 0x6000
.org 0xfff0
.code16
 ljmp $0xf000,$0
.org 0x10000
