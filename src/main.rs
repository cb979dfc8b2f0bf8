use std::sync::Arc;
use threatguard::{config::service::Verdicts, core::{correlate::*, output::*, types::*}, edge::{TopicRole, file::*}, run::{embedded::*, learning::*, pipeline::*}, simulate::*};
struct Seen(std::collections::BTreeMap<(String,String),u64>, Vec<(EventTime,String,String,String,f64)>);
impl Observer for Seen {
    fn threat(&mut self, t:&ThreatRecord){ *self.0.entry((t.threat_type.clone(), t.severity.as_str().into())).or_default()+=1; }
    fn correlated(&mut self, o:&Correlated){ if let Correlated::Alert(a)=o { if a.revision==1 { self.1.push((a.last_seen,a.entity.clone(),a.threat_types.join("+"),a.severity.as_str().into(),a.risk_score)); } } }
}
fn main(){
    let args: Vec<String>=std::env::args().collect(); tracing_subscriber::fmt().init(); if args[1]=="stream"||args[1]=="again" { return k::go(&args); }
    let verdicts = if args.iter().any(|a| a=="json") {Verdicts::Json} else {Verdicts::None};
    let roles=[TopicRole::Threats,TopicRole::Alerts,TopicRole::Analytics,TopicRole::DeadLetters,TopicRole::Verdicts];
    let sink=JsonlSink::create(std::path::Path::new("/tmp/out"),&roles,Existing::Replace).unwrap();
    let t0=std::time::Instant::now();
    if args[1]=="sim" {
        let mut ps=vec![];
        for f in ["pipelines/network.yaml","pipelines/identity.yaml"] {
            let mut file=threatguard::config::pipeline::load(std::path::Path::new(f)).unwrap_or_else(|e|panic!("{e:?}"));
            for ip in threatguard::simulate::known::ALLOWED_SCANNERS.iter().chain(&threatguard::simulate::known::MANAGEMENT_HOSTS) { file.exempt.push(threatguard::core::settings::ExemptSettings{entity:format!("ip:{ip}"),detectors:vec![],reason:"allowed".into()}); }
            let asns=threatguard::simulate::known::VPN_ASNS.iter().chain(threatguard::simulate::known::RELAY_ASNS.iter()).chain(threatguard::simulate::known::SATELLITE_ASNS.iter()).copied();
            file.detectors.behavior.travel_exempt_asns.extend(asns);
            let p=Arc::new(Pipeline::open(file,None).unwrap());
            let l=Arc::new(Learning::new(&p,None,Some(std::path::Path::new(&format!("/tmp/models-{}",p.file.name)))).unwrap());
            ps.push((p,l));
        }
        let corr=Correlator::new("demo","security.threats",CorrelationSettings::default());
        let mut e=Embedded::new(ps,verdicts,sink,corr,Default::default()).unwrap();
        let sc=if args.iter().any(|a| a=="small"){Scenario::small()}else if args.iter().any(|a| a=="month"){Scenario::month()}else{Scenario::demo()};
        let mut sim=Simulator::new(&sc).unwrap();
        let mut seen=Seen(Default::default(),vec![]);
        let mut next=[0u64;2]; let mut buf=vec![]; let mut n=0;
        while let Some(em)=sim.next({buf.clear();&mut buf}) {
            let lane= if em.family==Family::Network {0} else {1};
            e.records(lane).push(Offset(next[lane]),Some(em.time),None,&buf); next[lane]+=1; n+=1;
            if n%2048==0 { e.step(&mut seen).unwrap(); }
        }
        e.step(&mut seen).unwrap();
        let s=e.finish().unwrap();
        for (k,v) in &seen.0 { println!("{k:?} {v}"); }
        let camps=sim.campaigns();
        let mut tp=0;
        for a in &seen.1 { let hit=camps.iter().find(|c| c.entities.contains(&a.1)); tp+=u64::from(hit.is_some()); println!("ALERT {} {} {} {} {:.1} {}",a.0,a.1,a.2,a.3,a.4,hit.map_or("FALSE".to_string(),|c|format!("{:?}/{:?}",c.kind,c.variant))); }
        println!("alerts {} true {}",seen.1.len(),tp);
        for c in camps { let f=seen.1.iter().find(|a| c.entities.contains(&a.1)&&a.0>=c.start); println!("{:?}/{:?} events {} entities {:?} start {} found {:?}",c.kind,c.variant,c.events,c.entities.iter().take(3).collect::<Vec<_>>(),c.start,f.map(|a|(a.0.to_string(),a.2.clone()))); }
        println!("{s:?} {:?}",t0.elapsed());
    } else {
        let mut file=threatguard::config::pipeline::load(std::path::Path::new(&args[1])).unwrap_or_else(|e|panic!("{e:?}"));
        file.learning.events=args.get(4).and_then(|a|a.parse().ok()).unwrap_or(2000);
        let p=Arc::new(Pipeline::open(file,Some(&args[3])).unwrap());
        let l=Arc::new(Learning::new(&p,None,None).unwrap());
        let corr=Correlator::new("demo","security.threats",CorrelationSettings::default());
        let mut e=Embedded::new(vec![(p.clone(),l)],verdicts,sink,corr,Default::default()).unwrap();
        let mut input=threatguard::run::framed::FramedInput::new(open_input(&args[2]).unwrap());
        let mut seen=Seen(Default::default(),vec![]);
        loop { let n=input.read(&p,e.records(0),2048).unwrap(); if n==0 {break} e.step(&mut seen).unwrap(); }
        let s=e.finish().unwrap();
        for (k,v) in &seen.0 { println!("{k:?} {v}"); }
        for a in seen.1.iter().take(20) { println!("ALERT {} {} {} {} {:.1}",a.0,a.1,a.2,a.3,a.4); }
        println!("{s:?}");
    }
}
#[allow(dead_code)]
pub mod k {
    use super::*;
    use threatguard::{edge::{kafka::*,redis::*}, run::{stream::*,replay::*,framed::*}, serve::Readiness};
    use std::time::Duration; use std::sync::atomic::AtomicBool;
    pub fn go(args:&[String]) {
        // stream pipeline file codec brokers redis models parts group
        let file=threatguard::config::pipeline::load(std::path::Path::new(&args[2])).unwrap_or_else(|e|panic!("{e:?}"));
        let p=Arc::new(Pipeline::open(file,Some(&args[4])).unwrap());
        let kafka=KafkaSettings{brokers:args[5].clone(),..Default::default()};
        let parts:u32=args[8].parse().unwrap(); let g=&args[9];
        let topic=format!("raw-{g}");
        let names=TopicNames{threats:format!("threats-{g}"),alerts:format!("alerts-{g}"),analytics:format!("an-{g}"),dead_letters:format!("dl-{g}"),verdicts:format!("v-{g}"),rekeyed:topic.clone()};
        let spec=|n:&str,out| TopicSpec{partitions:Some(parts),is_output:out,..TopicSpec::named(n)};
        let topics=vec![TopicSpec{timestamp:Some(TimestampType::CreateTime),..spec(&topic,false)},spec(&names.threats,true),spec(&names.alerts,true),spec(&names.analytics,true),spec(&names.dead_letters,true),spec(&names.verdicts,true)];
        let ps=ProducerSettings{topics:names,..Default::default()};
        println!("{:?}",ensure_topics(&kafka,&topics));
        let publ=KafkaPublisher::open(&kafka,&ps).unwrap();
        let t=std::time::Instant::now();
        if args[1]=="stream" { println!("{:?} {:?}",replay(&p,FramedInput::new(open_input(&args[3]).unwrap()),&publ,None,&AtomicBool::new(false),|_,_|{}),t.elapsed()); }
        let bundle=if args[7]=="-"{None}else{Some(threatguard::models::bundle_files::load(std::path::Path::new(&args[7])).unwrap())};
        let l=Arc::new(Learning::new(&p,bundle.as_ref(),None).unwrap());
        let o=Options{kafka,consumer:ConsumerSettings{topic,group:format!("g-{g}"),..Default::default()},producer:ps,redis:Some(RedisSettings{url:threatguard::edge::secret::Secret::new(args[6].clone()),..Default::default()}),topics,create_topics:true,shards:1,checkpoint_interval:Duration::from_secs(2),shutdown:Duration::from_secs(10),verdicts:Verdicts::Json,once:true,correlate:true,correlation:CorrelationSettings::default()};
        let a=Surroundings{metrics:Default::default(),readiness:Arc::new(Readiness::new(&[])),stop:Arc::new(AtomicBool::new(false))};
        println!("{:?}",run(&p,&l,&o,&a));
        println!("{}",a.metrics.to_text().unwrap().lines().filter(|l|!l.starts_with('#')&&l.contains("total")||l.contains("seconds_total")||l.contains("conserv")).collect::<Vec<_>>().join("\n"));
    }
}
