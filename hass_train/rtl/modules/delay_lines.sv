// Delays of DEPTH words one after the other, all in one wide memory: every step reads and writes one row of it.
//
//   in ──► DEPTH words ──► out 0 ──► DEPTH words ──► out 1 …
//
// Outputs belong to the word at `in_data`, which is taken by `step`. The caller counts `address` round DEPTH values, one
// a step. A block RAM reads the row of the next word while it writes that of the present one, so its outputs do not
// depend on `address`; memories in LUTs are read at once; one or two words are registers.
module delay_lines #(
    parameter int WIDTH = 8,   // bits of a word
    parameter int DEPTH = 32,  // words of a delay
    parameter int LINES = 2,   // delays
    parameter int BLOCK = 0,   // 1: in block RAM
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1,
    localparam int ROW = LINES * WIDTH
) (
    input  logic               clock,
    input  logic               reset,
    input  logic               step,
    input  logic [ADDRESS-1:0] address,
    input  logic [  WIDTH-1:0] in_data,
    output logic [    ROW-1:0] out_data
);
  logic [ROW-1:0] taken;  // every line takes what the one before gives
  if (LINES == 1) assign taken = in_data;
  else assign taken = {out_data[(LINES-1)*WIDTH-1:0], in_data};

  // A block RAM is 36 >> n bits × 512 << n words, n = 0 … 5. This n takes fewest of them, and is the largest of those;
  // no more than 16 banks are put one above the other.
  function automatic int best();
    int fewest, count;
    best = 5;
    fewest = ROW * DEPTH;
    for (int n = 0; n < 6; n++) begin
      count = ((ROW + (36 >> n) - 1) / (36 >> n)) * ((DEPTH + (512 << n) - 1) / (512 << n));
      if (DEPTH <= 16 * (512 << n) && count <= fewest) begin
        best = n;
        fewest = count;
      end
    end
  endfunction

  if (DEPTH == 1) begin : register
    always_ff @(posedge clock) if (step) out_data <= taken;
  end else if (DEPTH == 2) begin : registers
    logic [ROW-1:0] first;
    always_ff @(posedge clock)
      if (step) begin
        first <= taken;
        out_data <= first;
      end
  end else if (BLOCK != 0) begin : block
    localparam int SHAPE = best();
    localparam int WIDE = 36 >> SHAPE, DEEP = (512 << SHAPE) < DEPTH ? 512 << SHAPE : DEPTH;
    localparam int BANKS = (DEPTH + DEEP - 1) / DEEP, LOW = $clog2(DEEP);
    logic [ADDRESS-1:0] present;
    logic [BANKS*ROW-1:0] read;
    always_ff @(posedge clock)
      if (reset) present <= ADDRESS'(DEPTH - 1);
      else if (step) present <= address;

    for (genvar bank = 0; bank < BANKS; bank++) begin : banks
      logic write;
      if (BANKS == 1) assign write = step;
      else assign write = step && present >> LOW == bank;
      for (genvar at = 0; at < ROW; at += WIDE) begin : columns
        localparam int PART = ROW - at < WIDE ? ROW - at : WIDE;
        (* ram_style = "block" *) logic [PART-1:0] rows[bank < BANKS - 1 ? DEEP : DEPTH - bank * DEEP];
        logic [PART-1:0] data;
        always_ff @(posedge clock) begin
          if (step) begin
            data <= rows[address[LOW-1:0]];
            // never so where it is used, but to say so spares logic
            if (write && address[LOW-1:0] == present[LOW-1:0]) data <= 'x;
          end
          if (write) rows[present[LOW-1:0]] <= taken[at+:PART];
        end
        assign read[bank*ROW+at+:PART] = data;
      end
    end

    if (BANKS == 1) assign out_data = read;
    else begin : chosen  // among a power of two, so that wide multiplexers are found; the last bank fills it up
      localparam int SELECT = $clog2(BANKS);
      logic [SELECT-1:0] bank;
      always_ff @(posedge clock) if (step) bank <= SELECT'(address >> LOW);
      for (genvar n = 0; n < ROW; n++) begin : bits
        logic [(1<<SELECT)-1:0] all;
        for (genvar k = 0; k < 1 << SELECT; k++) assign all[k] = read[(k<BANKS?k : BANKS-1)*ROW+n];
        assign out_data[n] = all[bank];
      end
    end
  end else begin : distributed
    (* ram_style = "distributed" *) logic [ROW-1:0] rows[DEPTH];
    logic [ADDRESS-1:0] at;
    // `reset` changes nothing, but keeps Yosys from taking the counter's flip-flops into the read port, which would then
    // not be that of the writes: a third more LUTs
    assign at = address & {{ADDRESS - 1{1'b1}}, !reset};
    assign out_data = rows[at];
    always_ff @(posedge clock) if (step) rows[at] <= taken;
  end
endmodule
