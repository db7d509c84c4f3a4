package wire

import "time"

// Deadlines of the exchanges that a session has opened share one timer: few of
// them ever pass, and starting and stopping a timer for each exchange would
// wake a thread of the runtime each time.

// expireAt sees to it that exchanges are looked at when t comes. s.mu is held.
func (s *Session) expireAt(t time.Time) {
	if t.IsZero() || !s.alarmAt.IsZero() && !t.Before(s.alarmAt) {
		return
	}
	s.alarmAt = t
	if s.alarm == nil {
		s.alarm = time.AfterFunc(time.Until(t), s.expire)
		return
	}
	s.alarm.Reset(time.Until(t))
}

// expire ends the exchanges whose deadline has passed.
func (s *Session) expire() {
	var passed []*Exchange
	now := time.Now()
	s.mu.Lock()
	s.alarmAt = time.Time{}
	if s.err == nil {
		for _, x := range s.open {
			if x.deadline.IsZero() {
				continue
			}
			if x.deadline.After(now) {
				s.expireAt(x.deadline)
			} else {
				passed = append(passed, x)
			}
		}
	}
	s.mu.Unlock()
	for _, x := range passed {
		x.expire()
	}
}
