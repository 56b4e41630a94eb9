package main

import (
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// waitForAlarm waits for a signal of the interval timer, which no task's stack shows.
func waitForAlarm(arg string) {
	d, err := time.ParseDuration(arg)
	if err != nil {
		fmt.Println("unwedge agent: alarm:", err)
		return
	}
	rung := make(chan os.Signal, 1)
	signal.Notify(rung, unix.SIGALRM)
	if _, err := unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Value: unix.NsecToTimeval(d.Nanoseconds())}); err != nil {
		fmt.Println("unwedge agent: alarm:", err)
		return
	}
	<-rung
}

// waitForClock waits for the alarm of the real-time clock, which no list of the kernel's
// timers shows (Documentation/admin-guide/rtc.rst).
func waitForClock(arg string) {
	fail := func(err error) { fmt.Println("unwedge agent: rtc:", err) }
	d, err := time.ParseDuration(arg)
	if err != nil {
		fail(err)
		return
	}
	fd, err := unix.Open("/dev/rtc0", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fail(err)
		return
	}
	defer unix.Close(fd)
	now, err := unix.IoctlGetRTCTime(fd)
	if err != nil {
		fail(err)
		return
	}
	at := time.Date(int(now.Year)+1900, time.Month(now.Mon+1), int(now.Mday), int(now.Hour), int(now.Min), int(now.Sec), 0, time.UTC).Add(d)
	alarm := unix.RTCWkAlrm{Enabled: 1, Time: unix.RTCTime{
		Year: int32(at.Year() - 1900), Mon: int32(at.Month()) - 1, Mday: int32(at.Day()),
		Hour: int32(at.Hour()), Min: int32(at.Minute()), Sec: int32(at.Second()),
	}}
	if err := unix.IoctlSetRTCWkAlrm(fd, &alarm); err != nil {
		fail(err)
		return
	}
	_, _ = unix.Read(fd, make([]byte, 8)) // until the alarm
}
