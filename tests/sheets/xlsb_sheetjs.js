// Makes xlsb_sheetjs*.xlsb: npm install xlsx@0.18.5, then node xlsb_sheetjs.js in this folder.
const X = require('xlsx');
function n(v,z){return {t:'n',v,z};}
function book(){
 const ws=X.utils.aoa_to_sheet([
  ["Token ID","Comment","Valid from","Active","Note"],
  [100001,"two lines\nand a\ttab",n(46387.6041680903,'yyyy-mm-dd hh:mm:ss.000'),true,1.5],
  [100002,"  leading, trailing  ",n(46023,'yyyy-mm-dd'),false,{t:'e',v:0x2A}],
  [100003,"æøå ß 漢字 😀",n(0.6041666666666666,'h:mm'),{t:'e',v:0x07},{t:'e',v:0x17}],
  [null,null,null,null,null],
  [-7,"_x000D_ 'quoted",n(2.125,'[h]:mm:ss'),null,{t:'n',v:100001,f:'50000*2+1'}],
  [100005,"hidden",n(46387.99999998843,'yyyy-mm-dd hh:mm'),null,"after a gap"],
  [100006,"merged",n(1e12,'yyyy-mm-dd'),{t:'s',v:'',f:'""'},0.1],
  [100007,null,n(-1,'yyyy-mm-dd'),"x",1e300],
 ]);
 ws['!merges']=[{s:{r:7,c:1},e:{r:8,c:1}}];
 ws['!rows']=[]; ws['!rows'][6]={hidden:true}; ws['!rows'][3]={hpt:30,level:2};
 const wb=X.utils.book_new(); X.utils.book_append_sheet(wb,ws,"Fleet");
 X.utils.book_append_sheet(wb,X.utils.aoa_to_sheet([["Token ID"]]),"Hidden");
 X.utils.book_append_sheet(wb,X.utils.aoa_to_sheet([[null,null],[null,"æ"]]),"Very hidden");
 wb.Workbook={Sheets:[{Hidden:0},{Hidden:1},{Hidden:2}]};
 return wb;
}
const out='./';
X.writeFile(book(),out+'xlsb_sheetjs.xlsb',{bookType:'xlsb',cellStyles:true,compression:true});
X.writeFile(book(),out+'xlsb_sheetjs_shared_strings.xlsb',{bookType:'xlsb',bookSST:true,cellStyles:true,compression:true});
