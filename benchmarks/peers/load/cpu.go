package main

import "syscall"

// cpuSeconds is the processor time of this process so far: near 1.0 a second, and the load is the bottleneck.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
