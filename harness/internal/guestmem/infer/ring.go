package infer

import "github.com/unwedge/unwedge/harness/internal/guestmem/kimage"

// Rings are the layouts that the log may have (kernel/printk/printk_ringbuffer.h): whoever
// reads it must see which one fits. Since 5.18 the descriptors' ring has one word more,
// and a record is longer with CONFIG_PRINTK_EXECUTION_CTX.
func Rings() []*kimage.Types {
	var out []*kimage.Types
	for _, text := range []uint64{48, 40} {
		for _, info := range []uint64{88, 112} {
			out = append(out, ring(text, info))
		}
	}
	return out
}

// ring is the layout whose ring of text is at an offset, and whose records have a size.
func ring(text, info uint64) *kimage.Types {
	return kimage.Known(kimage.Inferred, map[string]field{
		"printk_ringbuffer.desc_ring.count_bits":     {Off: 0, Size: 4},
		"printk_ringbuffer.desc_ring.descs":          {Off: 8, Size: word},
		"printk_ringbuffer.desc_ring.infos":          {Off: 16, Size: word},
		"printk_ringbuffer.desc_ring.head_id":        {Off: 24, Size: word},
		"printk_ringbuffer.desc_ring.tail_id":        {Off: 32, Size: word},
		"printk_ringbuffer.text_data_ring.size_bits": {Off: text, Size: 4},
		"printk_ringbuffer.text_data_ring.data":      {Off: text + word, Size: word},
		"prb_desc":                                   {Size: 24},
		"prb_desc.state_var":                         {Off: 0, Size: word},
		"prb_desc.text_blk_lpos.begin":               {Off: 8, Size: word},
		"prb_desc.text_blk_lpos.next":                {Off: 16, Size: word},
		"printk_info":                                {Size: info},
		"printk_info.seq":                            {Off: 0, Size: word},
		"printk_info.ts_nsec":                        {Off: 8, Size: word},
		"printk_info.text_len":                       {Off: 16, Size: 2},
		"printk_info.caller_id":                      {Off: 20, Size: 4},
	})
}
