package host

import "time"

const (
	keepEvery = time.Hour          // how often artifacts in use are marked as such
	keepAge   = 7 * 24 * time.Hour // after which those that nobody uses are removed
)

// keepArtifacts keeps the build cache to what hosts use, and removes what hosts
// that were killed have left of their builds.
func (h *Host) keepArtifacts() {
	if n, err := h.builder.Sweep(); err != nil || n > 0 {
		h.log.Info("removed what killed builds have left", "directories", n, "error", err)
	}
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, f := range *h.index.Load() {
			if r := f.current.Load(); r != nil && f.src.Dir != "" {
				if err := h.builder.Touch(r.main().artifact); err != nil {
					h.log.Warn("artifact in use: "+err.Error(), "function", f.name)
				}
			}
		}
		if h.registry != nil {
			h.collect()
		}
		if freed, err := h.builder.Prune(keepAge); err != nil || freed > 0 {
			h.log.Info("pruned the build cache", "bytes", freed, "error", err)
		}
	}
}
